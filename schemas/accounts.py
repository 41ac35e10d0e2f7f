"""Who may say and hear what on NATS: accounts, users and their permissions, generated into nats/accounts.conf.

The services share the account TAPELINE, where the streams are. Each has a user of its own that may publish what it
makes, ask JetStream for what it reads, and hear its own inbox; nothing else.

Bots live in an account of their own. It hears `md.>` and `signal.>` and reaches JetStream through three subjects only:
the next messages of a consumer, that consumer's state, and acknowledgements. Consumers are made for bots by
`tapeline streams`, never by them: a consumer's configuration names the subject that the server delivers to, inside the
streams' account and past every permission, so whoever may make a consumer may write `raw.>` or ask for a stream's end.
For the same reason bots are no users of the streams' account: a reply subject is not checked against permissions
either, but across accounts it never leaves the account that asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas import subjects
from schemas.streams import BATCHES, BOOKS, MD, RAW, Bucket, Stream

STREAMS_ACCOUNT = "TAPELINE"
BOTS_ACCOUNT = "BOTS"
SYSTEM_ACCOUNT = "SYS"

ADMIN = "admin"

HEARD_BY_BOTS = (subjects.MD_ALL, subjects.SIGNAL_ALL)
"""What bots may hear, live or through a consumer."""

BOTS_DOMAIN = "tapeline"
"""The JetStream domain that bots name to their client: under `$JS.API` every account meets its own JetStream."""

_API = "$JS.API"
_BOTS_API = f"$JS.{BOTS_DOMAIN}.API"


@dataclass(frozen=True, slots=True)
class User:
    """A NATS user: what it may publish and what it may subscribe to. Its inbox is `_INBOX.<name>`.

    `answers`: it may also reply once to each request that it hears, wherever that asks it to.
    """

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...] = ()
    answers: bool = False

    @property
    def password_variable(self) -> str:
        """The environment variable of the server that holds the password."""
        return f"NATS_{self.name.replace('-', '_').upper()}_PASSWORD"

    @property
    def hears(self) -> tuple[str, ...]:
        """Everything it may subscribe to, its inbox included."""
        return (f"{inbox(self.name)}.>", *self.subscribe)


def inbox(user: str) -> str:
    """Return the prefix of a user's inboxes: no user hears the answers to another."""
    return f"_INBOX.{user}"


def _looks(stream: str) -> tuple[str, ...]:
    """Return the requests that tell how a stream stands, and hand out single messages of it."""
    return f"{_API}.STREAM.INFO.{stream}", f"{_API}.STREAM.MSG.GET.{stream}"


def _reads(stream: Stream) -> tuple[str, ...]:
    """Return the requests of a reader with a consumer that lives as long as it does."""
    name = stream.name
    return (
        *_looks(name),
        f"{_API}.CONSUMER.CREATE.{name}",
        f"{_API}.CONSUMER.INFO.{name}.*",
        f"{_API}.CONSUMER.MSG.NEXT.{name}.*",
        f"{_API}.CONSUMER.DELETE.{name}.*",
    )


def _keeps(bucket: Bucket, *, writes: bool = True) -> tuple[str, ...]:
    """Return the requests of one who reads, watches and perhaps writes the values of a bucket."""
    name = f"KV_{bucket.name}"
    own = (
        *_looks(name),
        f"{_API}.DIRECT.GET.{name}.>",
        f"{_API}.CONSUMER.CREATE.{name}",
        f"{_API}.CONSUMER.CREATE.{name}.>",
        f"{_API}.CONSUMER.INFO.{name}.*",
        f"{_API}.CONSUMER.DELETE.{name}.*",
        f"$JS.FC.{name}.>",
    )
    return (*own, f"$KV.{bucket.name}.>") if writes else own


_FINDS_BUCKETS = f"{_API}.STREAM.NAMES"
"""A watcher of a bucket looks its stream up by subject."""

_CHECKPOINTS = "checkpoint.normaliser.*"
_RESYNC = "control.resync.*.*.*"
_BUDGET, _BUDGET_REPORT, _BUDGET_KEEPER = "control.budget.*", "control.budget.*.report", "control.budget.*.keeper"

_PUBLISHES_RAW = (
    subjects.RAW_ALL,
    # How far the slowest normaliser is from the ring's tail: its checkpoints, and the first frame behind them.
    *_looks(RAW.name),
    *_looks(MD.name),
)

SERVICES: tuple[User, ...] = (
    # Collectors of one exchange share its request budget: one of them keeps it and answers the others.
    User(
        "collector",
        publish=(*_PUBLISHES_RAW, _BUDGET, _BUDGET_REPORT, _BUDGET_KEEPER),
        subscribe=(_RESYNC, _BUDGET, _BUDGET_REPORT, _BUDGET_KEEPER),
        answers=True,
    ),
    User(
        "normaliser",
        publish=(
            *(subjects.MD_ALL, subjects.GAP_ALL, subjects.dead("normaliser"), _CHECKPOINTS),
            _RESYNC,
            *_reads(RAW),
            *_looks(MD.name),
            *_keeps(BOOKS),
            *_keeps(BATCHES, writes=False),
            _FINDS_BUCKETS,
        ),
    ),
    User(
        "storage-batcher",
        publish=(subjects.dead("storage-batcher"), *_reads(MD), *_keeps(BATCHES), _FINDS_BUCKETS),
    ),
    User(
        "gap-backfill",
        publish=(
            *(*_PUBLISHES_RAW, subjects.GAP_ALL, _BUDGET, _BUDGET_REPORT),
            *_reads(MD),
            *_keeps(BATCHES, writes=False),
            _FINDS_BUCKETS,
        ),
        subscribe=(subjects.backfill(),),
        answers=True,
    ),
    User("arbitrage-signal", publish=(subjects.SIGNAL_ALL, subjects.arbitrage_checkpoint(), *_reads(MD))),
)
"""The services' users, named like them."""


def bot(name: str) -> User:
    """Return the user of a bot: it hears records and signals, and reads through the consumer of its own name."""
    return User(
        name,
        publish=(
            f"{_BOTS_API}.CONSUMER.INFO.{MD.name}.{name}",
            f"{_BOTS_API}.CONSUMER.MSG.NEXT.{MD.name}.{name}",
            f"$JS.ACK.{MD.name}.{name}.>",
        ),
        subscribe=HEARD_BY_BOTS,
    )


BOT = bot("bot")
"""The bot that `make env` makes credentials for; more are made by adding users like it."""


def accounts_conf() -> str:
    """Return nats/accounts.conf."""
    users = "\n".join(_user(user) for user in SERVICES)
    exports = [f'{{ stream: "{subject}", accounts: [{BOTS_ACCOUNT}] }}' for subject in HEARD_BY_BOTS]
    imports = [f'{{ stream: {{ account: {STREAMS_ACCOUNT}, subject: "{subject}" }} }}' for subject in HEARD_BY_BOTS]
    for subject, response in _SHARED_API:
        exports.append(f'{{ service: "{subject}", response_type: {response}, accounts: [{BOTS_ACCOUNT}] }}')
        seen_as = f', to: "{subject.replace(_API, _BOTS_API)}"' if subject.startswith(_API) else ""
        imports.append(f'{{ service: {{ account: {STREAMS_ACCOUNT}, subject: "{subject}" }}{seen_as} }}')
    return f"""\
# Accounts, users and permissions. Generated from schemas/accounts.py by `make generate`; include it in a server's file.
#
# Passwords are the server's environment variables. One that is not set stops the server from starting.

accounts {{
  {STREAMS_ACCOUNT} {{
    jetstream: enabled
    users: [
      # Makes streams, buckets and bots' consumers: `tapeline streams`, `tapeline status`, `tapeline sub`.
      {{ user: "{ADMIN}", password: $NATS_ADMIN_PASSWORD }}
{users}
    ]
    exports: [
      {_lines(exports, 6)}
    ]
  }}

  # Bots: they hear, and read through consumers that were made for them. To add one, copy the user, and name it in
  # TAPELINE_STREAMS_BOTS for `tapeline streams`.
  {BOTS_ACCOUNT} {{
    users: [
{_user(BOT)}
    ]
    imports: [
      {_lines(imports, 6)}
    ]
  }}

  {SYSTEM_ACCOUNT} {{ users: [{{ user: "system", password: $NATS_SYSTEM_PASSWORD }}] }}
}}
system_account: {SYSTEM_ACCOUNT}

# A subscriber that reads too slowly is dropped, and does not slow down who publishes.
no_fast_producer_stall: true
"""


_SHARED_API = (
    (f"{_API}.CONSUMER.INFO.{MD.name}.*", "singleton"),
    (f"{_API}.CONSUMER.MSG.NEXT.{MD.name}.*", "stream"),
    (f"$JS.ACK.{MD.name}.>", "singleton"),
)
"""What of JetStream reaches the bots' account, and how many answers a request has."""


_ANSWERS = """
          allow_responses: { max: 1, expires: "1m" }"""


def _user(user: User) -> str:
    answers = _ANSWERS if user.answers else ""
    return f"""\
      {{
        user: "{user.name}", password: ${user.password_variable}
        permissions {{
          publish {{
            allow: [
              {_lines([f'"{subject}"' for subject in user.publish], 14)}
            ]
          }}
          subscribe {{ allow: [{", ".join(f'"{subject}"' for subject in user.hears)}] }}{answers}
        }}
      }}"""


def _lines(items: list[str], indent: int) -> str:
    return ("\n" + " " * indent).join(items)
