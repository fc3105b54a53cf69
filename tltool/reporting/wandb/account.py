"""Account on Weights & Biases: whether there is one, connecting, and errors that say what to do."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

_FORBIDDEN = set("/\\#?%:")
_LONGEST = 128  # characters of a name
_REFUSED = {401, 403}
_SECONDS = 19  # in which a server must answer


def check_names(project: str, entity: str | None = None) -> None:
    """Refuse names that W&B does not allow, before anything is built or sent.

    Raises:
        ValueError: If there is one; the message says what to type.

    Example:
        >>> check_names("team/bees")
        Traceback (most recent call last):
        ...
        ValueError: A W&B project has no '/' in its name, got 'team/bees'. The team is an option of
        its own: --wandb.entity team --wandb.project bees.
    """
    team, _, name = project.partition("/")
    if team and name and not _FORBIDDEN & {*team, *name} and entity in {None, team}:
        raise ValueError(
            f"A W&B project has no '/' in its name, got {project!r}. The team is an option of its "
            f"own: --wandb.entity {team} --wandb.project {name}."
        )
    for option, value in (("project", project), ("entity", entity)):
        if value is not None and (_FORBIDDEN & {*value} or not 0 < len(value) <= _LONGEST):
            raise ValueError(
                f"`wandb.{option}` cannot be {value!r}: W&B allows 1 to {_LONGEST} characters, and "
                f"none of {' '.join(sorted(_FORBIDDEN))}. Set --wandb.{option} to another name."
            )


def server_address() -> str:
    """Return the address of the W&B server in use, by ``WANDB_BASE_URL`` or W&B's settings."""
    import wandb

    return os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url


def has_account() -> bool:
    """Return whether this machine knows an account for the server in use; nothing is asked or sent.

    It looks where W&B does, which knows the several names of its own server: in the environment,
    in ``.netrc`` and in its settings.
    """
    import wandb
    from wandb.sdk.lib import wbauth

    try:
        account = wbauth.authenticate_session(
            host=server_address(), source="tltool", prompt=False, update_session=False
        )
    except wandb.errors.AuthenticationError:
        return True  # There is one, and using it will say what is wrong with it.
    return account is not None


def connect(*, timeout: int = _SECONDS) -> Any:
    """Return W&B's ``Api``, logged in.

    Args:
        timeout: Seconds in which the server must answer.

    Raises:
        PermissionError: If there is no account, or the server refuses it.
        ConnectionError: If no server answers.
    """
    import wandb

    if not has_account():  # Else W&B would ask for one on the terminal.
        raise PermissionError(
            f"No W&B account for {server_address()} on this machine. Log in first: wandb login"
        )
    with readable_errors():
        return wandb.Api(timeout=timeout)


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Turn what W&B's libraries raise into errors that say what to do.

    Raises:
        PermissionError: If the account is refused.
        ConnectionError: If no server answers.
        OSError: If the server answers with an error of another kind.
    """
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    where = f"The W&B server {server_address()}"
    try:
        yield
    except (wandb.errors.Error, WandbApiFailedError) as error:
        failed = [e.response for e in _causes(error) if isinstance(e, WandbApiFailedError)]
        response = failed[0] if failed else None
        said = str((response and response.message) or error).strip().rstrip(".")
        if not failed or (response and response.http_status in _REFUSED):
            raise PermissionError(
                f"{where} refuses the account of this machine: {said}. Log in again, to one that "
                "may write to the project: wandb login --relogin"
            ) from error
        if not (response and (response.http_status or response.message)):
            raise ConnectionError(
                f"{where} does not answer. Try again when the network is there, and look at "
                "WANDB_BASE_URL if that is the wrong address."
            ) from error
        raise OSError(f"{where} answers: {said}.") from error


@contextlib.contextmanager
def without_save_messages() -> Iterator[None]:
    """Keep back what ``wandb_workspaces`` prints where it has saved something.

    It names an address that lacks the path of the app behind the host; warnings are passed on.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield
    finally:
        for line in printed.getvalue().splitlines():
            if "saved" not in line.lower():
                print(line, file=sys.stderr)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
