"""The bodies that the service sends, as they stand in its OpenAPI description."""

from pydantic import BaseModel, ConfigDict, Field


class ModelName(BaseModel):
    """Which model answered."""

    name: str = Field(description="The network's name.", examples=["tf_efficientnet_lite0"])
    version: str = Field(description="The model's version.", examples=["1"])


class Alternative(BaseModel):
    """Another card that it may be."""

    label: str = Field(examples=["ace of spades"])
    probability: float = Field(ge=0, le=1, examples=[0.012])


class NamedCard(BaseModel):
    """A card's name."""

    label: str = Field(description='The likeliest label, such as "ten of hearts".', examples=["ace of clubs"])
    probability: float = Field(ge=0, le=1, examples=[0.981])
    accepted: bool = Field(description="Whether the probability reaches the model's threshold.", examples=[True])
    alternatives: list[Alternative] = Field(description="The next likely labels, the likeliest first.")


class FilePrediction(NamedCard):
    """What one file shows."""

    file: str = Field(description="The name under which the file was sent.", examples=["photo.jpg"])


class CardInPhoto(NamedCard):
    """A card and its place in a photo."""

    corners: list[tuple[float, float]] = Field(
        min_length=4,
        max_length=4,
        description="x and y of the card's own top left, top right, bottom right and bottom left corner, in pixels of "
        "the upright image; they may lie outside it.",
        examples=[[(410, 220), (620, 240), (600, 540), (390, 520)]],
    )
    visible: float = Field(ge=0, le=1, description="The part of the card that can be seen.", examples=[0.87])


class FileCards(BaseModel):
    """The cards that one file shows."""

    file: str = Field(description="The name under which the file was sent.", examples=["table.jpg"])
    width: int = Field(description="Of the upright image, in pixels.", examples=[1280])
    height: int = Field(description="Of the upright image, in pixels.", examples=[720])
    cards: list[CardInPhoto] = Field(description="Row by row, and each from left to right; empty where there is none.")


class Location(BaseModel):
    """The answer of ``POST /locate/``: the cards of each file, in the order in which the files were sent."""

    model: ModelName
    request_id: str = Field(examples=["9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d"])
    images: list[FileCards]


class Classification(BaseModel):
    """The answer of ``POST /classify/``: one prediction a file, in the order in which they were sent."""

    model: ModelName
    request_id: str = Field(examples=["9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d"])
    predictions: list[FilePrediction]


class ServedModel(ModelName):
    """The model that serves, and what it knows."""

    labels: list[str] = Field(description="Every label it can give, in the order of its outputs.")
    size: int = Field(description="The side of its square input in pixels.", examples=[160])
    threshold: float = Field(description="It accepts from this probability on.", examples=[0.5])
    created: str = Field(description="When it was exported, ISO 8601 in UTC.")


class Service(BaseModel):
    """What this is, and which model serves."""

    model_config = ConfigDict(json_schema_extra={"description": "The answer of ``GET /``."})

    service: str = Field(examples=["fulldeck"])
    version: str = Field(examples=["0.1.0"])
    description: str
    ready: bool
    model: ServedModel | None = Field(description="null until it is loaded.")
    links: dict[str, str] = Field(description="Where to go on.", examples=[{"classify": "/classify/"}])


class Health(BaseModel):
    """The process is alive."""

    status: str = Field(examples=["ok"])


class Readiness(BaseModel):
    """The model is loaded and has answered a first time."""

    status: str = Field(examples=["ready"])
    model: ModelName


class BadFile(BaseModel):
    """A file that cannot be used."""

    file: str = Field(description="The name under which the file was sent.")
    index: int = Field(description="Its place among the request's files, from 0.")
    status: int = Field(description="The status it would have had alone.")
    code: str = Field(description="The fault for programs.", examples=["not-an-image"])
    detail: str = Field(description="The fault for people.")


class ProblemBody(BaseModel):
    """An error, after RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    code: str = Field(description="The fault for programs.", examples=["not-an-image"])
    detail: str = Field(description="The fault for people.")
    request_id: str
    errors: list[BadFile] = Field(default=[], description="The files at fault, where it is files.")
