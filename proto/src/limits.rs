//! Every maximum of the system. A queue, cache, frame, name or batch without a line here is a bug.

/// Longest topic name and topic filter, in bytes of UTF-8.
pub const TOPIC_NAME_BYTES_MAX: usize = 1_024;
/// Most levels in a topic name or filter.
pub const TOPIC_LEVELS_MAX: usize = 128;
/// Largest payload a project may be allowed, and the default, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Most headers on one message.
pub const HEADERS_MAX: usize = 64;
/// Headers of one message, names and values together, and what answers are told by, in bytes.
pub const HEADERS_BYTES_MAX: usize = 16 << 10;
/// What answers to one message are told by, in bytes.
pub const CORRELATION_BYTES_MAX: usize = 4 << 10;
/// What names the publisher of one message to itself, in bytes.
pub const PUBLISHER_BYTES_MAX: usize = 32;
/// Highest QoS of a message (MQTT 5.0, section 4.3), plus one.
pub const QOS_PLUS_ONE_MAX: u32 = 3;
/// Longest content type, in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// Longest compaction key, in bytes.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// Longest W3C `traceparent`, in bytes (version 00 is exactly this long).
pub const TRACEPARENT_BYTES_MAX: usize = 55;
/// Longest time to live of a record, in milliseconds: ten years.
pub const TTL_MS_MAX: u64 = 10 * 365 * 24 * 3_600 * 1_000;
/// Longest credential that is looked at, in bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 8 << 10;

/// Largest encoded message: payload, headers and their framing, in bytes.
pub const MESSAGE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + HEADERS_BYTES_MAX + (8 << 10);

/// Most messages in one proposal of a shard.
pub const PROPOSAL_MESSAGES_MAX: usize = 4_096;
/// Bytes of messages at which a proposal is closed; one message may exceed it.
pub const PROPOSAL_BYTES_MAX: usize = 1 << 20;
/// Requests waiting at a shard.
pub const SHARD_QUEUE_MAX: usize = 16_384;
/// Bytes of publishes waiting at a shard or on their way to commit.
pub const SHARD_QUEUE_BYTES_MAX: usize = 64 << 20;

/// Largest frame between two nodes, in bytes.
pub const PEER_FRAME_BYTES_MAX: usize = 16 << 20;
/// Bytes of log entries in one replication request; a single entry may exceed it.
pub const APPEND_BYTES_MAX: usize = 4 << 20;
/// Frames waiting to be written to one peer.
pub const PEER_QUEUE_MAX: usize = 4_096;
/// Requests from one peer that are being answered at once.
pub const PEER_REQUESTS_MAX: usize = 4_096;
/// Bytes of one chunk of a snapshot on its way to another node.
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 1 << 20;

/// Memory of the records that a shard keeps for its live readers, encodings included, in bytes.
pub const TAIL_BYTES_MAX: usize = 32 << 20;
/// Applied records of a node that may wait for a checkpoint, in bytes.
pub const CHECKPOINT_BYTES: usize = 64 << 20;
/// Applied records of one shard that may wait for a checkpoint, in bytes; at this point applying waits.
pub const PENDING_BYTES_MAX: usize = 4 * CHECKPOINT_BYTES;
/// Bytes of one stored block of records; a single record may exceed it.
pub const BLOCK_BYTES_MAX: usize = 32 << 10;
/// Runs of records in one chunk of a project's feed.
pub const FEED_CHUNK_RUNS_MAX: usize = 1_024;
/// Chunks of a project's feed that one read, or one checkpoint, looks at.
pub const FEED_CHUNKS_MAX: usize = 256;
/// Topics that one look for expired records reads from disk, and one trim names, at most.
pub const TRIM_TOPICS_MAX: usize = 4_096;
/// Deleted ranges that are erased from the disk together.
pub const ERASURES_MAX: usize = 1_024;
/// Bytes of a node's cache of stored blocks.
pub const STORE_CACHE_BYTES: usize = 64 << 20;
/// Bytes of one file of the log.
pub const LOG_SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes of recent log entries kept in memory for replication and apply, over all shards of a node.
pub const LOG_CACHE_BYTES_MAX: usize = 64 << 20;
/// Topics of one shard.
pub const TOPICS_PER_SHARD_MAX: usize = 2_000_000;
/// Shards of one cluster.
pub const SHARDS_MAX: u32 = 1_024;
/// How long an idempotency key is remembered at least, in milliseconds. Twice this at most.
pub const IDEMPOTENCY_WINDOW_MS: u64 = 24 * 3_600 * 1_000;

/// Shards that one feed cursor covers, and so those of one project.
pub const FEED_SHARDS_MAX: usize = 64;
/// Topics and filters of one subscription.
pub const SUBSCRIPTION_TOPICS_MAX: usize = 256;
/// Records of one page.
pub const PAGE_RECORDS_MAX: usize = 10_000;
/// Records of a page when the reader does not say.
pub const PAGE_RECORDS_DEFAULT: usize = 1_000;
/// Bytes at which a page is closed; a single record may exceed it.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// Longest long poll, in milliseconds.
pub const WAIT_MS_MAX: u64 = 60_000;
/// Messages of one JSON batch.
pub const BATCH_MESSAGES_MAX: usize = 1_000;
/// Bytes of one request that holds several messages, after decompression.
pub const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Fields of a gRPC request at all depths together, which bounds the memory it is decoded into.
pub const REQUEST_FIELDS_MAX: usize = 64 << 10;
/// Bytes of requests that all clients of a node together have announced and not sent whole.
pub const RECEIVING_BYTES_MAX: usize = 256 << 20;
/// The same of one connection.
pub const CONNECTION_RECEIVING_BYTES_MAX: usize = 32 << 20;
/// Bytes of one request that are not counted among them: one HTTP/2 frame.
pub const RECEIVING_FREE_BYTES: usize = 16 << 10;
/// Bytes of one request to the health and reflection services, which need no credential.
pub const PUBLIC_REQUEST_BYTES_MAX: usize = 16 << 10;
/// Bytes at which one response of a stream of records is closed; a single record may exceed it.
pub const RESPONSE_BYTES_MAX: usize = 1 << 20;
/// Topics on one page of a listing.
pub const TOPICS_PAGE_MAX: usize = 1_000;
/// Publishes of one stream that wait for their outcome.
pub const PUBLISH_STREAM_IN_FLIGHT_MAX: usize = 4_096;
/// Publishes at which no further request of a stream is taken together with those before it.
pub const PUBLISHES_TOGETHER_MAX: usize = 256;
/// Bytes of payload at which the same holds.
pub const PUBLISH_BYTES_TOGETHER_MAX: usize = 256 << 10;

/// Time for which a ticket is good, in milliseconds.
pub const TICKET_MS: u64 = 30_000;
/// Time for which the record stays that a ticket was used, in milliseconds. What refuses a second use is its
/// idempotency key, which is remembered for longer than a ticket is good.
pub const TICKET_RECORD_MS: u64 = 60_000;
const _: () = assert!(TICKET_MS < IDEMPOTENCY_WINDOW_MS);
/// Time for which an event stream that was opened with a ticket may be opened again, in milliseconds.
pub const RESUMPTION_MS: u64 = 24 * 3_600 * 1_000;
/// Longest origin of a web page, in bytes.
pub const ORIGIN_BYTES_MAX: usize = 512;
/// Origins that one project allows.
pub const ORIGINS_MAX: usize = 256;
/// Time for which a browser may remember what it may send, in seconds; none remembers it for longer.
pub const PREFLIGHT_SECONDS_MAX: u32 = 7_200;

/// Longest `sub` of a token, in bytes.
pub const TOKEN_SUBJECT_BYTES_MAX: usize = 256;
/// Longest `jti` of a token, in bytes.
pub const TOKEN_ID_BYTES_MAX: usize = 128;
/// Tokens of which a node remembers that their signature is right.
pub const VERIFIED_TOKENS_MAX: usize = 100_000;

/// Documents of one commit to the catalogue, and what is said of it in audit logs.
pub const COMMIT_DOCUMENTS_MAX: usize = 1_000;
/// Bytes of the same.
pub const COMMIT_BYTES_MAX: usize = 1 << 20;
/// Longest id of a document, in bytes: a prefix and a UUID.
pub const DOCUMENT_ID_BYTES_MAX: usize = 64;
/// Documents that a reader of the catalogue takes up at once.
pub const DOCUMENTS_TOGETHER_MAX: usize = 1_000;
/// Entries on one page of an audit log.
pub const AUDIT_PAGE_MAX: usize = 1_000;
/// Time for which entries stay in audit logs, in milliseconds: 400 days.
pub const AUDIT_MS: u64 = 400 * 24 * 3_600 * 1_000;

/// Longest time that a subscription waits for its project's delivery rate before it looks again, in milliseconds:
/// the rate may have been raised.
pub const DELIVERY_WAIT_MS_MAX: u64 = 1_000;
/// Longest time that whoever exceeds a rate is told to wait, in milliseconds: by then other nodes may be asked for
/// less.
pub const QUOTA_WAIT_MS_MAX: u64 = 60_000;
/// How often nodes tell each other what is asked of them, in milliseconds.
pub const USAGE_EXCHANGE_MS: u64 = 200;

/// Topics of a deleted project that are removed at the same time.
pub const DELETED_TOGETHER_MAX: usize = 64;

/// Sockets of one node.
pub const CONNECTIONS_MAX: usize = 100_000;
/// Time a client has to send a request's headers, in milliseconds.
pub const HEADER_TIMEOUT_MS: u64 = 10_000;
/// Longest of the times that can be configured for clients, in milliseconds: a day.
pub const CLIENT_TIME_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// Silence after which a stream says that it is still there, in milliseconds.
pub const HEARTBEAT_MS: u64 = 15_000;
/// Time before a credential expires at which a stream's client is warned, in milliseconds.
pub const EXPIRY_WARNING_MS: u64 = 30_000;
/// Longest sleep of a wait for a time of day, in milliseconds: then the clock, which may have been set, is
/// looked at again.
pub const CLOCK_CHECK_MS: u64 = 15_000;
/// Subscriptions of one WebSocket connection.
pub const SOCKET_SUBSCRIPTIONS_MAX: usize = 256;
/// Longest message of a WebSocket client before it is authenticated, in bytes.
pub const SOCKET_GREETING_BYTES_MAX: usize = 16 << 10;
/// Longest message of a WebSocket client: a payload in base64, and what goes with it.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = 2 << 20;
/// Bytes at which a WebSocket message with records is closed; a single record may exceed it.
pub const SOCKET_DELIVERY_BYTES_MAX: usize = 256 << 10;
/// Bytes that wait to be written to one WebSocket client; at this point nothing more is taken for it.
pub const SOCKET_QUEUE_BYTES_MAX: usize = 256 << 10;
/// Bytes that are read from a WebSocket client at once.
pub const SOCKET_READ_BYTES_MAX: usize = 64 << 10;
/// Pieces of memory that go into one write to a WebSocket client.
pub const SOCKET_WRITE_PIECES_MAX: usize = 16;
/// Fields of one WebSocket message in JSON, of which no type has as many.
pub const SOCKET_FIELDS_MAX: usize = 24;
/// Longest id of a WebSocket request, in bytes.
pub const SOCKET_ID_BYTES_MAX: usize = 64;
/// Longest MQTT CONNECT, in bytes: until it is read, anybody may have sent it. A will and a token fit.
pub const MQTT_CONNECT_BYTES_MAX: usize = 96 << 10;
/// Longest MQTT packet, in bytes: a PUBLISH with the largest message and its topic.
pub const MQTT_PACKET_BYTES_MAX: usize = MESSAGE_BYTES_MAX + (4 << 10);
/// Most user properties of one MQTT packet: the headers of a message, and what goes beside them.
pub const MQTT_USER_PROPERTIES_MAX: usize = HEADERS_MAX + 8;
/// Most filters of one SUBSCRIBE or UNSUBSCRIBE.
pub const MQTT_FILTERS_MAX: usize = 256;
/// Longest client identifier, in bytes.
pub const MQTT_CLIENT_ID_BYTES_MAX: usize = 1_024;
/// Longest keep alive of a client of MQTT 5.0, in seconds.
pub const MQTT_KEEP_ALIVE_S_MAX: u16 = 3_600;
/// Messages with QoS 1 and 2 of one MQTT client that wait for their outcome.
pub const MQTT_RECEIVE_MAX: u16 = 1_024;
/// Messages with QoS 1 and 2 that one MQTT client was sent and has not acknowledged.
pub const MQTT_IN_FLIGHT_MAX: usize = 1_024;
/// Topic aliases in each direction of one MQTT connection.
pub const MQTT_TOPIC_ALIASES_MAX: u16 = 64;
/// Packets to one MQTT client that wait until its session is durable.
pub const MQTT_HELD_PACKETS_MAX: usize = 2_048;
/// Runs of packet identifiers that one MQTT client has used equally often, at which they are made alike.
pub const MQTT_USES_MAX: usize = 1_024;
/// How much later than it was made the progress of an MQTT session is written, in milliseconds.
pub const MQTT_SESSION_LAG_MS_MAX: u64 = 2_000;
/// Gaps that one MQTT message tells one by one; more are told as one that has all of them in it.
pub const MQTT_GAPS_MAX: usize = 16;
/// Records that are read for one MQTT subscription at once.
pub const MQTT_DELIVERY_RECORDS_MAX: usize = 256;
/// Bytes at which the same is closed.
pub const MQTT_DELIVERY_BYTES_MAX: usize = 256 << 10;
/// Bytes that wait to be written to one MQTT client; at this point nothing more is taken for it.
pub const MQTT_QUEUE_BYTES_MAX: usize = 256 << 10;
/// Bytes that are read from an MQTT client at once.
pub const MQTT_READ_BYTES_MAX: usize = 64 << 10;
/// Sessions without a connection that one node settles at once.
pub const MQTT_SETTLED_TOGETHER_MAX: usize = 64;
/// Longest name of a group of consumers, in bytes.
pub const GROUP_NAME_BYTES_MAX: usize = 256;
/// Consumers of one group.
pub const GROUP_MEMBERS_MAX: usize = 1_024;
/// Records that a consumer of a group takes at once, and has without having acknowledged them.
pub const GROUP_CLAIM_RECORDS_MAX: usize = 256;
/// Bytes at which the same is closed.
pub const GROUP_CLAIM_BYTES_MAX: usize = 1 << 20;
/// Events of a group after which what they amount to is written down.
pub const GROUP_SNAPSHOT_EVENTS: u64 = 512;
/// Events of one group that are kept. Among them is always what those before them amount to.
pub const GROUP_EVENTS_KEPT: u64 = 8 * GROUP_SNAPSHOT_EVENTS;
/// Concurrent HTTP/2 streams of one connection.
pub const HTTP2_STREAMS_MAX: u32 = 1_024;
/// Reset HTTP/2 streams that are remembered, against rapid-reset floods (CVE-2023-44487).
pub const HTTP2_RESETS_MAX: usize = 64;
/// Bytes an HTTP/2 client may send on one stream before they are read.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes an HTTP/2 client may send on all streams of a connection before they are read.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of responses that are buffered for one HTTP/2 stream.
pub const HTTP2_SEND_BUFFER_BYTES_MAX: usize = 256 << 10;
/// Bytes of the buffers that a gRPC call begins with, one in each direction; they grow with its messages.
pub const GRPC_BUFFER_BYTES: usize = 256;
/// Bytes of ready gRPC responses that are written together; a single one may exceed it.
pub const GRPC_CHUNK_BYTES_MAX: usize = 32 << 10;
/// Bytes of one request's headers.
pub const HEADER_BYTES_MAX: usize = 32 << 10;

/// Append requests of one shard that may be on their way to one peer.
pub const APPENDS_IN_FLIGHT_MAX: usize = 64;
/// Append requests of one leader that wait for a replica to take them.
pub const APPEND_QUEUE_MAX: usize = 64;
/// Log entries of one append request.
pub const APPEND_ENTRIES_MAX: u64 = 256;
/// Connections of peers that are shaking hands at the same time.
pub const PEER_HANDSHAKES_MAX: usize = 64;
/// The first frame on a connection of a peer, in bytes: until it is checked, anybody may have sent it.
pub const PEER_HELLO_BYTES_MAX: usize = 4 << 10;
/// Longest name of a cluster, in bytes.
pub const CLUSTER_NAME_BYTES_MAX: usize = 256;
/// Reads of one shard that may be at the disk at once.
pub const DISK_READS_MAX: usize = 16;
/// Callers that wait for one round of a shard's frontier.
pub const FRONTIER_QUEUE_MAX: usize = 16_384;
/// Bytes of log that a node keeps for replicas that were away; one that needs more gets a snapshot.
pub const LOG_BYTES_KEPT_MAX: u64 = 512 << 20;
/// Changes of shards that wait for the writer of a node's log.
pub const LOG_QUEUE_MAX: usize = 4_096;
/// Used files of the log that are kept to be used again.
pub const LOG_SPARES_MAX: usize = 2;
/// Runs of durable log entries whose order is remembered, to let the oldest leave memory first. Beyond it
/// entries leave early.
pub const LOG_CACHE_RUNS_MAX: usize = 64 << 10;
/// Segments of records not yet checkpointed that one page of a feed looks at.
pub const FEED_SEGMENTS_MAX: usize = 65_536;
/// Topics whose retention is looked at under one lock.
pub const RETENTION_TOPICS_MAX: usize = 1_024;

/// Bytes of the body of one request to the control plane.
pub const CONTROL_BODY_BYTES_MAX: usize = 256 << 10;
/// Connections to one control plane.
pub const CONTROL_CONNECTIONS_MAX: usize = 4_096;
/// Time that one request to the control plane may take, in milliseconds.
pub const CONTROL_REQUEST_MS_MAX: u64 = 30_000;
/// Callers of a control plane whose requests are counted; of more, some are not.
pub const RATE_CALLERS_MAX: usize = 10_000;
/// Changes that wait at one control plane for their turn.
pub const CONTROL_WRITES_WAITING_MAX: usize = 1_024;
/// Resources on one page of a list.
pub const LIST_ITEMS_MAX: usize = 500;
/// Resources on a page when the reader does not say.
pub const LIST_ITEMS_DEFAULT: usize = 100;
/// Longest name of a tenant, project, key or issuer, in bytes.
pub const RESOURCE_NAME_BYTES_MAX: usize = 128;
/// Labels of one tenant or project.
pub const LABELS_MAX: usize = 32;
/// Longest key of a label, in bytes.
pub const LABEL_KEY_BYTES_MAX: usize = 64;
/// Longest value of a label, in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;
/// Largest quota: what every JSON reader has as a whole number (RFC 8259, section 6).
pub const QUOTA_MAX: u64 = (1 << 53) - 1;
/// Tenants of one cluster.
pub const TENANTS_MAX: usize = 100_000;
/// Those who may administer one tenant.
pub const TENANT_MEMBERS_MAX: usize = 256;
/// Longest subject of one of them, in bytes.
pub const MEMBER_SUBJECT_BYTES_MAX: usize = 256;
/// Projects of one tenant.
pub const TENANT_PROJECTS_MAX: usize = 1_000;
/// Topic policies of one project.
pub const PROJECT_POLICIES_MAX: usize = 256;
/// API keys of one project.
pub const PROJECT_KEYS_MAX: usize = 500;
/// Issuers of one project.
pub const PROJECT_ISSUERS_MAX: usize = 16;
// A project goes with all of them in one commit.
const _: () = assert!(PROJECT_KEYS_MAX + PROJECT_ISSUERS_MAX + 2 < COMMIT_DOCUMENTS_MAX);
/// Longest time after which a project may be set to delete itself, in milliseconds: a year.
pub const PROJECT_LIFETIME_MS_MAX: u64 = 365 * 24 * 3_600 * 1_000;
/// Permissions of one key or issuer.
pub const PERMISSIONS_MAX: usize = 64;
/// Longest time for which a key's previous secret stays good, in milliseconds: thirty days.
pub const KEY_OVERLAP_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
/// Audiences of one issuer.
pub const ISSUER_AUDIENCES_MAX: usize = 16;
/// Longest name of an issuer or audience in tokens, and longest address of keys, in bytes.
pub const ISSUER_BYTES_MAX: usize = 1_024;
/// Largest JSON Web Key Set, in bytes.
pub const JWKS_BYTES_MAX: usize = 32 << 10;
/// Keys in one.
pub const JWKS_KEYS_MAX: usize = 32;
/// Longest time for which a token may be good, in milliseconds: a day.
pub const TOKEN_LIFETIME_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// How long a token is good when its minter does not say, in milliseconds: fifteen minutes.
pub const TOKEN_LIFETIME_MS_DEFAULT: u64 = 15 * 60 * 1_000;
/// By how much the clock of who signs a token may be ahead, in milliseconds.
pub const TOKEN_LEEWAY_MS: u64 = 30_000;
/// Revocations of tokens of one project. Those that are about no valid token any more do not count.
pub const PROJECT_REVOCATIONS_MAX: usize = 10_000;
/// Longest time from when a signing key is published until it signs, in milliseconds: a day.
pub const SIGNING_KEY_LEAD_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// Signing keys at once, those included whose tokens are still good.
pub const SIGNING_KEYS_MAX: usize = 16;
/// Key sets of issuers that one control plane fetches at once.
pub const JWKS_FETCHES_MAX: usize = 8;
/// Claims of one token.
pub const TOKEN_CLAIMS_MAX: usize = 64;
/// Hours for which it is known what a project has used: four hundred days.
pub const USAGE_HOURS_KEPT: u64 = 400 * 24;
/// Projects whose usage one request reads at once.
pub const USAGE_READS_MAX: usize = 16;
/// Hours that are shown one by one: thirty-one days.
pub const USAGE_HOURLY_MAX: u64 = 31 * 24;
/// Hours that one question about usage may be about.
pub const USAGE_HOURS_MAX: u64 = 400 * 24;
/// How often a node's reading of what it has counted is taken, in milliseconds.
pub const USAGE_READING_MS: u64 = 2_000;
/// How exactly it is known when a key was last used, in milliseconds.
pub const KEY_USE_MS: u64 = 60_000;
/// Keys of one project of which it is known when they were last used, those included that are gone.
pub const KEY_USES_MAX: usize = 2 * PROJECT_KEYS_MAX;
/// Projects in one reading.
pub const READING_PROJECTS_MAX: usize = 1_000;
/// Time after which a meter that is not heard of any more is forgotten, in milliseconds: a day.
pub const METER_FORGOTTEN_MS: u64 = 24 * 3_600 * 1_000;
/// Documents that one sweep removes from the catalogue together.
pub const SWEEP_DOCUMENTS_MAX: usize = 256;
/// Largest response of a node to a control plane, in bytes.
pub const CATALOGUE_RESPONSE_BYTES_MAX: usize = 16 << 20;
