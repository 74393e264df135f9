"""What nodes share, as the settings name it: a memory, a bucket."""

from imgprocessor.config.secrets import store_keys
from imgprocessor.config.settings import Settings
from imgprocessor.config.store_settings import redis_server
from imgprocessor.errors import ConfigurationError
from imgprocessor.program import with_extra
from imgprocessor.reporting import complain
from imgprocessor.storage.shared.entries import SharedEntries
from imgprocessor.storage.shared.signed import Signer
from imgprocessor.storage.shared.tier import Count, Guard, Tier


def make_shared(
    settings: Settings, count: Count = lambda _tier, _outcome: None
) -> SharedEntries | None:
    """Make what nodes share; None where they share nothing.

    Raises:
        ConfigurationError: it cannot be reached as the settings say, or has no key.
    """
    store = settings.store
    if store.bucket is None and store.shared is None:
        return None
    keys = store_keys(store)
    if not keys:
        raise ConfigurationError(
            "[store] key_file must be set where nodes share renditions: a key signs them"
        )
    signer = Signer(keys)
    tiers: list[Tier] = []
    if store.shared is not None:
        jobs = settings.jobs.redis
        if jobs and store.shared.is_redis and redis_server(str(store.shared)) == redis_server(jobs):
            raise ConfigurationError(
                "[store] shared must not be the Redis server of [jobs], whatever the number:"
                " what it forgets would be jobs"
            )
        with with_extra("memory", "[store] shared"):
            from imgprocessor.storage.shared.memory_tier import MemoryTier  # noqa: PLC0415
        tiers.append(MemoryTier(store.shared, settings.jobs.instance, store.shared_seconds))
    if store.bucket is not None:
        with with_extra("buckets", "[store] bucket"):
            from imgprocessor.storage.shared.bucket_tier import BucketTier  # noqa: PLC0415
        bucket = BucketTier(store.bucket, settings.buckets)
        bucket.check()
        tiers.append(bucket)
    return SharedEntries([Guard(tier, count, complain) for tier in tiers], signer)
