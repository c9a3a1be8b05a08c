"""Says in one sentence what the service refused, and what to do about it."""

from service.client.errors import STRANGE_ANSWER, UNREACHABLE, ReleaseError
from service.commands.options import Exit
from service.core.wording import escaped

_KEYS = "`batch-release keys create` makes one"
_ADVICE = {
    UNREACHABLE: "start it, or name another with --url or RELEASE_URL",
    STRANGE_ANSWER: "check --url and RELEASE_URL, and what stands before the service",
    "unauthorized": f"set RELEASE_API_KEY, or --api-key; {_KEYS}",
    "forbidden": _KEYS,
    "not-found": "check the name; a key for other workspaces does not see it either",
    "item-conflict": "wait until that request is done, or cancel it",
    "idempotency-key-reused": "use another --idempotency-key, or the same body",
    "not-cancellable": "`batch-release status ID` shows how it stands",
    "not-retryable": "`batch-release status ID` shows how it stands",
    "not-resolvable": "`batch-release attention` shows what waits for a decision",
    "count-changed": "look again without --execute",
    "too-much-waiting": "try again later",
    "rate-limited": "try again later",
    "unavailable": "try again; with the same --idempotency-key it is safe",
}
#: What was given is wrong, and will be wrong again.
_OF_USAGE = {"invalid-request", "invalid-parameter", "malformed-json", "unauthorized"}


def refusal_of(error: ReleaseError, *, has_key: bool) -> tuple[str, Exit]:
    """Return the sentence, and the exit code that goes with it."""
    parts = [_what_is_wrong(error, has_key=has_key), _ADVICE.get(error.code, ""), _when(error)]
    code = Exit.USAGE if error.code in _OF_USAGE else Exit.FAILED
    return escaped("; ".join(part for part in parts if part)), code


def _what_is_wrong(error: ReleaseError, *, has_key: bool) -> str:
    if error.code == "unauthorized":
        return "the API key is not known, or has ended" if has_key else "the service asks for an API key"
    if error.errors:
        return "; ".join(
            f"{one.get('pointer') or 'the body'}: {_plain(one.get('detail'))}" for one in error.errors
        )
    if error.code in (UNREACHABLE, STRANGE_ANSWER):
        return error.detail
    return f"{error.code}: {_plain(error.detail)}"


def _plain(text: object) -> str:
    """Take the capital and the full stop off a sentence that becomes part of one."""
    sentence = str(text or "").removesuffix(".")
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence


def _when(error: ReleaseError) -> str:
    return "" if error.retry_after is None else f"the service asks for {error.retry_after:g} s of patience"
