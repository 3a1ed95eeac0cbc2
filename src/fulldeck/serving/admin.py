"""What its operator may ask of a running service."""

from http import HTTPStatus

from fastapi import APIRouter, Depends

from fulldeck.errors import FulldeckError
from fulldeck.serving.access import administrator
from fulldeck.serving.problems import Problem, documented
from fulldeck.serving.routes import TheEngine
from fulldeck.serving.schemas import ModelName, Readiness

router = APIRouter(prefix="/admin", tags=["operation"], dependencies=[Depends(administrator)])


@router.post("/reload", responses=documented(401, 403, 409))
async def reload(engine: TheEngine) -> Readiness:
    """Load the model from where it comes from again, and let it take over; no request is dropped.

    Where it cannot be used the status is 409, and the old one serves on. It asks for an administrator's key where the
    service asks for keys, and else to come from this machine.
    """
    try:
        info = await engine.reload()
    except FulldeckError as error:
        raise Problem(HTTPStatus.CONFLICT, "model-refused", f"{error}; the old model serves on") from error
    return Readiness(status="ready", model=ModelName(name=info.name, version=info.version))
