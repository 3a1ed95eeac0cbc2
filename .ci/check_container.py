"""Follow the service's container recipe, where there is no engine to build it: as root, in a root of its own.

    python .ci/check_container.py [RECIPE]

The root is this machine's, seen through an overlay in a mount namespace, so nothing of it is changed; this machine's
Python stands for the base image's. The steps that build run as they are written, on the files that they name; then the
service runs as the recipe's user, without rights, in what has become read-only but for its volume, and must make a
key, be healthy, name a card, keep that in its log, and end at SIGTERM. What only an engine can show is not shown: that
the base image is there, and that it has all that the packages need.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[1]
RECIPE = PROJECT / "deploy" / "docker" / "Dockerfile"

ROOT = """
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
for each in proc dev; do mount --rbind /$each /mnt/root/$each; done
mkdir /mnt/root/context
mount --bind "$CONTEXT" /mnt/root/context
"""

SERVED = """
address=http://127.0.0.1:8000
as_user=(
  chroot /mnt/root setpriv --reuid="${USER%%:*}" --regid="${USER##*:}" --clear-groups --no-new-privs
  --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search --bounding-set=-all,+dac_read_search
  env -i "${SETTINGS[@]}"
)
cp -a "/mnt/root$VOLUME" /mnt/volume  # as an engine fills a new volume
mount --bind /mnt/volume "/mnt/root$VOLUME"
mount -o remount,ro /mnt/root
key=$("${as_user[@]}" "${ENTRYPOINT[@]}" keys add check | tail -1)
"${as_user[@]}" "${ENTRYPOINT[@]}" "${CMD[@]}" &
service=$!
trap 'kill $service 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  kill -0 $service
  "${as_user[@]}" "${HEALTH[@]}" 2>/dev/null && break
  sleep 0.2
done
"${as_user[@]}" "${HEALTH[@]}"
! "${as_user[@]}" touch /opt/fulldeck/here 2>/dev/null
answer=$(curl --silent --show-error --fail --header "X-API-Key: $key" --header 'Content-Type: image/jpeg' \\
  --data-binary "@$PICTURE" $address/classify/)
grep -q '"accepted":true' <<<"$answer"
test "$(curl --silent --output /dev/null --write-out '%{http_code}' $address/metrics)" = 401
kill -TERM $service
wait $service
trap - EXIT
test -s "/mnt/root$VOLUME/predictions.db"
test -z "$(find "/mnt/root$VOLUME" -name '*.spill')"
test -z "$(find /mnt/root/opt/fulldeck -name 'torch*' -path '*site-packages*' -maxdepth 5)"
du -sm /mnt/root/opt/fulldeck | cut -f1
"""


class Step(NamedTuple):
    """One instruction, and what stands behind it."""

    word: str
    rest: str


def steps(recipe: str) -> list[Step]:
    """The recipe's instructions, continued lines joined."""
    lines = [line for line in recipe.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Step(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def left_out(context: Path, source: str) -> None:
    """Stop where .dockerignore does not let a file that is copied through."""
    allowed = {line[1:] for line in (context / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    if source.partition("/")[0] not in allowed:
        sys.exit(f".dockerignore leaves out {source}, which the recipe copies")


def script(recipe: str, context: Path) -> str:
    """The recipe as a shell script, and after it what is tried."""
    base = {"PATH": f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"}
    settings = dict(base)
    lines = ["set -euo pipefail", ROOT]
    folder = "/"
    said: dict[str, str] = {}
    for word, rest in steps(recipe):
        said[word] = rest
        match word:
            case "FROM":
                folder, settings = "/", dict(base)
            case "ENV":
                pairs = (pair.partition("=") for pair in shlex.split(rest))
                settings |= {name: value.replace("${PATH}", base["PATH"]) for name, _, value in pairs}
            case "WORKDIR":
                folder = rest
                lines.append(f"mkdir -p /mnt/root{folder}")
            case "COPY":
                lines += copied(rest, context, folder)
            case "RUN":
                inside = shlex.quote(f"cd {folder} && {rest}")
                lines.append(f"chroot /mnt/root env -i {told(settings)} HOME=/root sh -ec {inside}")
    said["HEALTH"] = said["HEALTHCHECK"].partition("CMD ")[2]
    lines += [f"{name}=({shlex.join(json.loads(said[name]))})" for name in ("HEALTH", "ENTRYPOINT", "CMD")]
    lines += [f"SETTINGS=({told(settings)})", f"USER={said['USER']}", f"VOLUME={said['VOLUME']}", SERVED]
    return "\n".join(lines)


def told(settings: dict[str, str]) -> str:
    """Settings as words of a shell."""
    return shlex.join(f"{name}={value}" for name, value in settings.items())


def copied(rest: str, context: Path, folder: str) -> list[str]:
    """What a COPY does, as commands."""
    *sources, target = rest.split()
    if sources[0].startswith("--from="):
        # All else of the stage before stays behind; here both stages are one root.
        return [f"test {sources[1]} = {target}", "find /mnt/root/opt/build -delete"]
    for source in sources:
        left_out(context, source)
    place = folder if target.endswith("/") else f"{folder}/{target}"
    return [f"cp -R {shlex.quote(f'{context}/{source}')} /mnt/root{place}" for source in sources]


def main(recipe: Path) -> None:
    """Do it, and print the megabytes of what the image adds to its base; exit with 1 at the first step that fails."""
    with tempfile.TemporaryDirectory() as name:
        context = Path(name)
        listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
        for file in map(Path, listed.splitlines()):  # what a clean clone has
            if (PROJECT / file).is_file():
                (context / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / file, context / file)
        picture = context / "src" / "fulldeck" / "serving" / "example.jpg"
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", script(recipe.read_text(), context)],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CONTEXT": str(context), "PICTURE": str(picture)},
            stdout=subprocess.PIPE,
            text=True,
            timeout=600,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{recipe.name}: it failed\n{done.stdout[-3000:]}")
    sys.stdout.write(f"{recipe.name}: built, healthy, and ended; {done.stdout.split()[-1]} MB above its base\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else RECIPE)
