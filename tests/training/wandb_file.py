"""Reads what an offline run of W&B's has written: a LevelDB log of protocol buffers, in blocks of 32 KiB."""

import struct
import time
import zlib

from wandb.proto import wandb_internal_pb2

BLOCK, FILE_HEADER, HEADER = 32768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_records(file, seconds=60):
    """The records of a run that has ended, in order: its last ones reach the disk a moment after ``finish`` returns."""
    until = time.monotonic() + seconds
    while True:
        records = parse(file.read_bytes())
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        assert time.monotonic() < until, f"{file} has no end after {len(records)} records"
        time.sleep(0.1)


def parse(content):
    """The records in a file's content, as far as they are whole."""
    place, whole, records = FILE_HEADER, b"", []
    while place + HEADER <= len(content):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        checksum, length, kind = struct.unpack("<IHB", content[place : place + HEADER])
        part = content[place + HEADER : place + HEADER + length]
        if kind not in {FULL, FIRST, MIDDLE, LAST} or zlib.crc32(bytes([kind]) + part) != checksum:
            break
        whole = part if kind in {FULL, FIRST} else whole + part
        if kind in {FULL, LAST}:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            records.append(record)
        place += HEADER + length
    return records
