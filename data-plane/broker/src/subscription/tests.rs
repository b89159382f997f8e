//! Subscriptions over a made-up shard.
