"""Jobs in Redis: each change is one script, so that it happens whole or not at all.

Of a job there is a hash; sets in order of time say what waits, what is held until when, and when
each is to be forgotten. The clock is Redis's own: one for all who share the jobs.
"""

import contextlib
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, cast

import redis

from imgprocessor.config.jobs_settings import JobsSettings
from imgprocessor.errors import JobsUnavailable
from imgprocessor.jobs.records import (
    CANCELLED_FAILURE,
    LEASE_SECONDS,
    LOST_FAILURE,
    MAX_LEASES,
    QUEUES,
    SUCCESS,
    Failure,
    JobRecord,
    Queue,
    State,
    Wanted,
)

_CONNECT_SECONDS, _ANSWER_SECONDS = 2.0, 5.0
_AT_ONCE = 200
"""Jobs looked at in one script: Redis does nothing else meanwhile."""

# Where memory is full nothing new is taken; what ends or moves a job must be possible still.
_TAKES_MEMORY = "#!lua\n"
_FREES_MEMORY = "#!lua flags=allow-oom\n"

_BEGIN = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local p = KEYS[1]
local function set(name) return p .. ':' .. name end
local function hash(job) return p .. ':job:' .. job end
local function freed(job)
    local size = tonumber(redis.call('HGET', hash(job), 'size') or 0)
    if size > 0 then
        redis.call('DECRBY', set('bytes'), size)
        redis.call('HSET', hash(job), 'size', 0)
    end
end
local function over(job, state, field, text, kept)
    redis.call('HSET', hash(job), 'state', state, field, text, 'expires', now + kept)
    redis.call('HDEL', hash(job), 'holder')
    redis.call('ZREM', set('held'), job)
    redis.call('ZREM', set('waiting:' .. redis.call('HGET', hash(job), 'queue')), job)
    redis.call('ZADD', set('expires'), now + kept, job)
    local outcome = state == 'FAILURE' and cjson.decode(text).code or 'success'
    redis.call('HINCRBY', set('outcomes'), outcome, 1)
    freed(job)
end
"""
"""Of all scripts. The prefix is the one key: all others begin with it, on one server."""

_CREATE = """
local job, queue, size, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local kept, most, most_bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local most_kept, most_known = tonumber(ARGV[8]), tonumber(ARGV[9])
if redis.call('ZCARD', set('waiting:' .. queue)) >= most then return 'max_pending' end
if redis.call('ZCARD', set('expires')) >= most_known then return 'max_known' end
if tonumber(redis.call('GET', set('bytes')) or 0) + size > most_bytes then
    return 'max_waiting_bytes'
end
if most_kept and tonumber(redis.call('GET', set('kept')) or 0) >= most_kept then
    return 'max_kept_bytes'
end
redis.call('HSET', hash(job), 'state', 'PENDING', 'queue', queue, 'size', size, 'wanted', wanted,
    'created', now, 'expires', now + kept, 'leases', 0)
redis.call('INCRBY', set('bytes'), size)
redis.call('ZADD', set('waiting:' .. queue), now, job)
redis.call('ZADD', set('expires'), now + kept, job)
return ''
"""

_CLAIM = """
local job, holder, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local state = redis.call('HGET', hash(job), 'state')
if state ~= 'PENDING' and state ~= 'RETRY' then return 0 end
redis.call('HSET', hash(job), 'state', 'STARTED', 'holder', holder)
redis.call('ZREM', set('waiting:' .. redis.call('HGET', hash(job), 'queue')), job)
redis.call('ZADD', set('held'), now + lease, job)
return 1
"""

_RENEW = """
local job, holder, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('HGET', hash(job), 'holder') ~= holder then return 0 end
redis.call('ZADD', set('held'), now + lease, job)
return 1
"""

_GIVE_BACK = """
local job, holder = ARGV[1], ARGV[2]
if redis.call('HGET', hash(job), 'holder') ~= holder then return 0 end
redis.call('HSET', hash(job), 'state', 'RETRY')
redis.call('HDEL', hash(job), 'holder')
redis.call('ZREM', set('held'), job)
redis.call('ZADD', set('waiting:' .. redis.call('HGET', hash(job), 'queue')),
    redis.call('HGET', hash(job), 'created'), job)
return 1
"""

_END = """
local job, holder, state, field, text = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('HGET', hash(job), 'holder') ~= holder then return 0 end
over(job, state, field, text, tonumber(ARGV[6]))
if tonumber(ARGV[7]) > 0 then
    redis.call('HSET', hash(job), 'made', ARGV[7])
    redis.call('INCRBY', set('kept'), ARGV[7])
end
return 1
"""

_CANCEL = """
local job, text, kept = ARGV[1], ARGV[2], tonumber(ARGV[3])
local state = redis.call('HGET', hash(job), 'state')
if not state or state == 'SUCCESS' or state == 'FAILURE' then return 0 end
over(job, 'FAILURE', 'failure', text, kept)
return 1
"""

_HAND_OUT = """
local most, text, kept, at_once = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local again = {}
for _, job in ipairs(redis.call('ZRANGEBYSCORE', set('held'), '-inf', now, 'LIMIT', 0, at_once)) do
    redis.call('ZREM', set('held'), job)
    redis.call('INCR', set('lost'))
    if redis.call('EXISTS', hash(job)) == 1 then
        redis.call('HDEL', hash(job), 'holder')
        if redis.call('HINCRBY', hash(job), 'leases', 1) >= most then
            over(job, 'FAILURE', 'failure', text, kept)
        else
            local queue = redis.call('HGET', hash(job), 'queue')
            redis.call('HSET', hash(job), 'state', 'RETRY')
            local created = redis.call('HGET', hash(job), 'created')
            redis.call('ZADD', set('waiting:' .. queue), created, job)
            again[#again + 1] = queue
            again[#again + 1] = job
        end
    end
end
return again
"""

_EXPIRED = "return redis.call('ZRANGEBYSCORE', set('expires'), '-inf', now, 'LIMIT', 0, ARGV[1])"

_FORGET = """
local job = ARGV[1]
if redis.call('EXISTS', hash(job)) == 1 then
    freed(job)
    redis.call('DECRBY', set('kept'), redis.call('HGET', hash(job), 'made') or 0)
    redis.call('ZREM', set('waiting:' .. redis.call('HGET', hash(job), 'queue')), job)
end
redis.call('ZREM', set('held'), job)
redis.call('ZREM', set('expires'), job)
redis.call('DEL', hash(job))
"""

_COUNTS = """
local told = {redis.call('ZCARD', set('held')), redis.call('GET', set('bytes')) or '0',
    redis.call('GET', set('lost')) or '0', redis.call('GET', set('kept')) or '0'}
for _, queue in ipairs(ARGV) do
    local oldest = redis.call('ZRANGE', set('waiting:' .. queue), 0, 0, 'WITHSCORES')
    told[#told + 1] = redis.call('ZCARD', set('waiting:' .. queue))
    told[#told + 1] = oldest[2] and tostring(now - oldest[2]) or '0'
end
return told
"""


class RedisRecords:
    """Keeps jobs in Redis. Any number of processes, on any number of machines, may use it."""

    def __init__(self, settings: JobsSettings) -> None:
        """Use the Redis that the settings name."""
        if settings.redis is None:
            raise ValueError("[jobs] redis is none")
        self._settings = settings
        self._prefix = settings.instance
        self._redis = redis.Redis.from_url(
            settings.redis,
            socket_connect_timeout=_CONNECT_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            decode_responses=True,
        )

    def key(self) -> bytes:
        """Return the secret, as `Records.key` says."""
        with _reached():
            name = f"{self._prefix}:key"
            self._redis.set(name, secrets.token_hex(32), nx=True)
            return bytes.fromhex(cast("str", self._redis.get(name)))

    def create(self, job: str, wanted: Wanted) -> None:
        """Keep a new job, as `Records.create` says."""
        told = self._run(
            _TAKES_MEMORY + _BEGIN + _CREATE,
            job,
            wanted.queue,
            wanted.size_bytes,
            json.dumps(asdict(wanted)),
            self._settings.result_seconds,
            self._settings.max_pending,
            self._settings.max_waiting_bytes,
            self._settings.max_kept_bytes if wanted.keeps_thumbnail else "",
            self._settings.max_known,
        )
        if told:
            raise JobsUnavailable(f"[jobs] {told} is reached")

    def find(self, job: str) -> JobRecord | None:
        """Return how a job stands."""
        with _reached():
            # No transaction: where memory is full Redis refuses those, whatever is in them.
            asked = self._redis.pipeline(transaction=False)
            asked.time()
            asked.hgetall(f"{self._prefix}:job:{job}")
            (seconds, micros), known = asked.execute()
        if not known:
            return None
        failure = known.get("failure")
        return JobRecord(
            job=job,
            wanted=Wanted(**json.loads(known["wanted"])),
            state=cast("State", known["state"]),
            created_seconds=float(known["created"]),
            expires_seconds=float(known["expires"]),
            known_seconds=seconds + micros / 1e6,
            leases=int(known["leases"]),
            failure=None if failure is None else Failure(**json.loads(failure)),
            result=json.loads(known.get("result", "{}")),
        )

    def claim(self, job: str, holder: str) -> JobRecord | None:
        """Take a job that waits."""
        if self._run(_FREES_MEMORY + _BEGIN + _CLAIM, job, holder, LEASE_SECONDS):
            return self.find(job)
        return None

    def renew(self, job: str, holder: str) -> bool:
        """Say that a job is still held."""
        return bool(self._run(_FREES_MEMORY + _BEGIN + _RENEW, job, holder, LEASE_SECONDS))

    def give_back(self, job: str, holder: str) -> None:
        """Have a job wait again."""
        self._run(_FREES_MEMORY + _BEGIN + _GIVE_BACK, job, holder)

    def succeed(self, job: str, holder: str, result: dict[str, Any]) -> bool:
        """Say that a job is done."""
        return self._end(job, holder, "SUCCESS", "result", result)

    def fail(self, job: str, holder: str, failure: Failure) -> bool:
        """Say that a job cannot be done."""
        return self._end(job, holder, "FAILURE", "failure", asdict(failure))

    def cancel(self, job: str) -> bool:
        """End a job."""
        text = json.dumps(asdict(CANCELLED_FAILURE))
        kept = self._settings.result_seconds
        return bool(self._run(_FREES_MEMORY + _BEGIN + _CANCEL, job, text, kept))

    def hand_out(self) -> Sequence[tuple[Queue, str]]:
        """Have jobs wait again whose leases ended."""
        text = json.dumps(asdict(LOST_FAILURE))
        kept = self._settings.result_seconds
        told = self._run(_FREES_MEMORY + _BEGIN + _HAND_OUT, MAX_LEASES, text, kept, _AT_ONCE)
        return list(zip(told[::2], told[1::2], strict=True))

    def waiting(self, queue: Queue) -> Sequence[str]:
        """Return the jobs that wait."""
        with _reached():
            name = f"{self._prefix}:waiting:{queue}"
            return cast("list[str]", self._redis.zrange(name, 0, -1))

    def expired(self) -> Sequence[str]:
        """Return jobs whose time is over."""
        return cast("list[str]", self._run(_FREES_MEMORY + _BEGIN + _EXPIRED, _AT_ONCE))

    def forget(self, job: str) -> None:
        """Forget a job."""
        self._run(_FREES_MEMORY + _BEGIN + _FORGET, job)

    def counts(self) -> dict[str, float]:
        """Return how many there are."""
        held, size, lost, made, *of_queues = self._run(_FREES_MEMORY + _BEGIN + _COUNTS, *QUEUES)
        told = {"held": float(held), "bytes": float(size), "lost": float(lost), "kept": float(made)}
        for number, queue in enumerate(QUEUES):
            told[queue] = float(of_queues[2 * number])
            told[f"{queue}_age"] = float(of_queues[2 * number + 1])
        return told

    def announce(self, worker: str, text: str, seconds: float) -> None:
        """Have what a worker says of itself known for so long."""
        with _reached():
            self._redis.set(f"{self._prefix}:worker:{worker}", text, ex=int(seconds))
            # Who has gone is looked for, and not found.
            self._redis.sadd(f"{self._prefix}:workers", worker)

    def announced(self) -> Sequence[str]:
        """Return what workers say of themselves."""
        with _reached():
            known = sorted(cast("set[str]", self._redis.smembers(f"{self._prefix}:workers")))
            if not known:
                return []
            told = self._redis.mget([f"{self._prefix}:worker:{worker}" for worker in known])
            gone = [worker for worker, text in zip(known, told, strict=True) if text is None]
            if gone:
                self._redis.srem(f"{self._prefix}:workers", *gone)
        return [text for text in cast("list[str | None]", told) if text is not None]

    def outcomes(self) -> dict[str, float]:
        """Return how many are over."""
        with _reached():
            known = cast("dict[str, str]", self._redis.hgetall(f"{self._prefix}:outcomes"))
        return {SUCCESS: 0.0} | {outcome: float(number) for outcome, number in known.items()}

    def _end(self, job: str, holder: str, state: State, name: str, told: dict[str, Any]) -> bool:
        kept = self._settings.result_seconds
        script = _FREES_MEMORY + _BEGIN + _END
        made = told.get("bytes", 0)
        return bool(self._run(script, job, holder, state, name, json.dumps(told), kept, made))

    def _run(self, script: str, *arguments: str | float) -> Any:
        with _reached():
            return self._redis.register_script(script)([self._prefix], arguments)


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """Turn what Redis says, or does not, into an error of ours."""
    try:
        yield
    except redis.RedisError as error:
        raise JobsUnavailable(f"{type(error).__name__}: {error}") from error
