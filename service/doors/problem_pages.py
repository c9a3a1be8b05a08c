"""What each problem means and what to do about it: the pages behind the ``type`` of a problem (RFC 9457, 3.1.1)."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemPage:
    """A page about one code."""

    status: int
    meaning: str
    remedy: str


_SAFE_AGAIN = (
    "Wait as long as Retry-After says, then send the same body with the same Idempotency-Key: it is safe."
)

PAGES: Mapping[str, ProblemPage] = {
    "invalid-request": ProblemPage(
        422,
        "The body breaks rules of this call. Nothing of it was accepted.",
        "The member errors has every rule that is broken: pointer says where (a JSON pointer), detail what was "
        "expected and what was given. Correct all of them and send it again.",
    ),
    "idempotency-key-reused": ProblemPage(
        422,
        "The Idempotency-Key stands for another body that was sent before.",
        "Use a new key for a new request. Where you meant to repeat the earlier one, send its very body; "
        "release_request_id names it.",
    ),
    "malformed-json": ProblemPage(
        400,
        "The body is not JSON that can be taken: it does not parse, has a member twice, a number that is none, a "
        "broken character, or too many levels.",
        "detail says what and where. Write the body with a JSON library, in UTF-8.",
    ),
    "malformed-body": ProblemPage(
        400,
        "The body does not follow the headers that announce it.",
        "Let an HTTP client library set Content-Length and Transfer-Encoding. Look for a proxy that changes bodies.",
    ),
    "malformed-http": ProblemPage(
        400,
        "What came is not HTTP/1.1, or could be understood in two ways. The connection was closed.",
        "detail says what was wrong. Use an HTTP client library, and look for a proxy that changes headers.",
    ),
    "invalid-parameter": ProblemPage(
        400,
        "A query parameter or a header is unknown, there twice, or has a value that is not taken.",
        "detail says what was expected. The parameters of each call are in the API documentation.",
    ),
    "unauthorized": ProblemPage(
        401,
        "The call has no API key, or one that is unknown, expired or revoked.",
        "Send Authorization: Bearer KEY, or X-Auth-Token: KEY. An administrator makes keys with `batch-release keys "
        "create`.",
    ),
    "forbidden": ProblemPage(
        403,
        "The key is good, but not for this: it lacks the scope, or is not for the workspace.",
        "detail says what the key would need. Ask an administrator for one, or use the right one.",
    ),
    "not-found": ProblemPage(
        404,
        "There is no such thing, or none that the key may see.",
        "Check the address and the id. Where you know that it exists, the key may be for other workspaces.",
    ),
    "gone": ProblemPage(
        410,
        "There is no such thing any more: what ended longer ago than RELEASE_RETENTION_DAYS is deleted.",
        "Nothing can bring it back. A key that is that old may be used anew, and an item may be handed in again.",
    ),
    "method-not-allowed": ProblemPage(
        405,
        "The address exists, but does not take this method.",
        "The header Allow names those that it takes.",
    ),
    "request-timeout": ProblemPage(
        408,
        "The headers did not come within 20 seconds, or the body within 30. Nothing was accepted.",
        "Send it again, over a better connection or in smaller parts.",
    ),
    "item-conflict": ProblemPage(
        409,
        "A pending item is held by another release request that has another applicant or other approvers.",
        "release_request_id names that request. Wait until it is done, have it cancelled, or send the item with the "
        "same applicant and approvers: then both share one release.",
    ),
    "not-cancellable": ProblemPage(
        409,
        "A call to the vendor was made for the request, or it is done; it cannot be ended any more.",
        "state says how it stands. Wait for its end. What was released can be revoked only at the vendor.",
    ),
    "not-retryable": ProblemPage(
        409,
        "Only a request that failed or was rejected, and whose deadline is to come, can be tried again.",
        "state says how it stands. Wait for its end, or hand in a new request.",
    ),
    "count-changed": ProblemPage(
        409,
        "Another number of release requests matches the filter than the caller has seen.",
        "Ask without execute again, look at the sample, and send the count that it shows.",
    ),
    "not-running": ProblemPage(
        409, "The operation has ended already.", "Nothing; its resource says what it has done."
    ),
    "not-resolvable": ProblemPage(
        409,
        "Only a batch that is needs_attention waits for a decision of an operator; each is decided once.",
        "state says how it stands. Where it was decided, its last attempt in doubt has the decision in evidence, and "
        "the audit trail has who and why.",
    ),
    "strange-entry": ProblemPage(
        400,
        "Something on the queue is no job that the queue door runs. Nothing of it was run or unpickled.",
        "detail says what was expected and what was given; the payload of the reject shows what came. Find out who "
        "writes to that Redis. Where a job has expired, hand the request in again with its idempotency key.",
    ),
    "too-large": ProblemPage(
        413,
        "The body is over 1 MiB.",
        "Split it: a release request takes 1,000 items, a batch 1,000 requests.",
    ),
    "unsupported-media-type": ProblemPage(
        415,
        "The body is not application/json in UTF-8, or it is compressed.",
        "Send Content-Type: application/json, and no Content-Encoding.",
    ),
    "expectation-failed": ProblemPage(
        417,
        "The header Expect asks for something other than 100-continue.",
        "Send Expect: 100-continue, or none.",
    ),
    "too-much-waiting": ProblemPage(
        429,
        "So many items wait already, in the workspace or in all, that there is no room for those of the request.",
        "cap names the setting that says how many may wait. Wait as long as Retry-After says and send it again; if it "
        "lasts, ask whoever runs the service why so much waits. What was accepted before is not touched.",
    ),
    "rate-limited": ProblemPage(
        429,
        "The key is used more often than it may be, or many keys that are not known are shown at once.",
        "Wait as long as Retry-After says. Wait for changes with ?wait= rather than by asking again and again, and "
        "hand in many requests with one call of POST /v1/release-requests:batch.",
    ),
    "headers-too-large": ProblemPage(
        431,
        "The request line or the headers are too long.",
        "Each may have 8,190 bytes, all together 64 KiB. Look for cookies and other headers that are not needed.",
    ),
    "internal-error": ProblemPage(
        500,
        "Something is broken in the service. It has been logged under the request_id of the answer.",
        "Give the request_id to whoever runs the service. Sending the same body with the same Idempotency-Key again "
        "is safe.",
    ),
    "unavailable": ProblemPage(
        503,
        "A part that the call needs, mostly PostgreSQL, does not answer at the moment, or more is asked of the process "
        "than it can do.",
        _SAFE_AGAIN,
    ),
    "too-many-connections": ProblemPage(
        503,
        "All connections of the process are busy, or this one was too slow to be used while others came.",
        "Keep connections alive and use fewer of them. " + _SAFE_AGAIN,
    ),
}
