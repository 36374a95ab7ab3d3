"""The check of every documented error code of the single-model server (facts 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

from xgbpatch.contract.exchange import Request, invocation
from xgbpatch.contract.finding import require
from xgbpatch.contract.payload import Row, csv
from xgbpatch.contract.server import PLAIN
from xgbpatch.contract.session import Session
from xgbpatch.contract.settling import settled

LIMIT = 6 * 2**20  # bytes; MAX_CONTENT_LENGTH where it is not set


@dataclass(frozen=True)
class Refusal:
    """A request that must be refused, why in words, and the documented status."""

    why: str
    request: Request
    status: int


TOO_LARGE = Refusal("a body over 6 MiB", invocation(b"1" * (LIMIT + 1), "text/csv"), 413)


def table(row: Row) -> tuple[Refusal, ...]:
    """The refusals that do not depend on size, made from one good row."""
    good = csv([row])
    return (
        Refusal("an empty body", invocation(b"", "text/csv"), 204),
        Refusal("an unknown content type", invocation(good, "application/x-unknown"), 415),
        Refusal("a CSV body that is none", invocation(b"junk, not numbers", "text/csv"), 415),
        Refusal("a libsvm body that is none", invocation(b"junk:not numbers", "text/libsvm"), 415),
        Refusal("a recordio body that is none", invocation(b"junk", "application/x-recordio-protobuf"), 415),
        Refusal("a label_size other than 1", invocation(good, "text/csv; label_size=2"), 415),
        Refusal("an unknown accept type", invocation(good, "text/csv", "image/png"), 406),
        Refusal("more columns than the model has", invocation(csv([(*row, 1.0, 2.0, 3.0)]), "text/csv"), 400),
        Refusal("an unknown path", Request(path="/no-such-path"), 404),
        Refusal("GET on /invocations", Request(), 405),
    )


def errors(session: Session) -> str:
    """Each refused request gets its documented status; an image that answers 200 to anything fails here."""
    server = session.server(PLAIN)
    answers = [(refusal, server.ask(refusal.request)) for refusal in table(session.rows[0])]
    answers.append((TOO_LARGE, settled(server, TOO_LARGE.request)))
    wrong = [f"{refusal.why}: answered {answer}, not {refusal.status}"
             for refusal, answer in answers if answer.status != refusal.status]  # fmt: skip
    require(not wrong, "; ".join(wrong))
    return ", ".join(sorted({str(refusal.status) for refusal, _ in answers}))
