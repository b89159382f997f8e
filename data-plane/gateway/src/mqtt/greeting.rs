//! From the first bytes of a connection to a client with its session: CONNECT and CONNACK.

use std::{num::NonZeroU16, num::NonZeroU32, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use highwater_broker::{
    Refusal, Result,
    from::From,
    session::{self, SessionKey, SessionSlot, Uses},
};
use highwater_mqtt::{
    DecodeError, Decoder, Kind, Limits, Packet, PacketId, Qos, ReasonCode, SubscriptionId, Text,
    Version,
    packet::{Authentication, ConnAck, Connect, connack},
};
use highwater_proto::{
    ErrorCode,
    cluster::{
        self,
        session::{Subscription as StoredSubscription, Will},
    },
    ids::{SessionId, ShardId},
    limits::{
        MESSAGE_BYTES_MAX, MQTT_CLIENT_ID_BYTES_MAX, MQTT_CONNECT_BYTES_MAX, MQTT_FILTERS_MAX,
        MQTT_IN_FLIGHT_MAX, MQTT_KEEP_ALIVE_S_MAX, MQTT_PACKET_BYTES_MAX, MQTT_RECEIVE_MAX,
        MQTT_TOPIC_ALIASES_MAX, MQTT_USER_PROPERTIES_MAX,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::Instant,
};

use super::{
    aliases::Aliases,
    client::{Client, Identity},
    message::ORIGIN_BYTES,
    outbox::Outbox,
    reasons::{reason, remarks},
    registry::Registered,
    saver::Saver,
    subscriptions::{Options, Subscription, Written, open_reader, open_retained},
    will,
    window::{InFlight, Place, Window},
};
use crate::{gateway::Door, metrics::Protocol, page::Page, session::Session};

/// The one method of enhanced authentication: its data is a key or token, at CONNECT and to renew it.
const AUTHENTICATION_METHOD: &str = "highwater";
/// How often a session is looked up anew because somebody else has written it meanwhile.
const CLAIM_ATTEMPTS: usize = 8;

/// What is allowed in the first packet.
pub const CONNECT_LIMITS: Limits = Limits {
    packet_bytes_max: MQTT_CONNECT_BYTES_MAX,
    user_properties_max: MQTT_USER_PROPERTIES_MAX,
    filters_max: MQTT_FILTERS_MAX,
};
/// What is allowed in all others.
pub const LIMITS: Limits = Limits {
    packet_bytes_max: MQTT_PACKET_BYTES_MAX,
    ..CONNECT_LIMITS
};

const _: () = assert!(MQTT_PACKET_BYTES_MAX >= MESSAGE_BYTES_MAX);

/// There is no client.
pub struct Turned {
    /// What is left to say to it: a CONNACK, or nothing.
    pub answer: Bytes,
    /// Why, for what MQTT is spoken over.
    pub code: ErrorCode,
}

impl Turned {
    /// Closes without a word.
    pub fn silently(code: ErrorCode) -> Turned {
        let answer = Bytes::new();
        Turned { answer, code }
    }

    /// Closes with a CONNACK, if the version has one for it and the client takes it (MQTT-3.1.2-24).
    fn with(
        version: Version,
        (code, answer): (ErrorCode, ConnAck),
        packet_bytes_max: usize,
    ) -> Turned {
        let mut bytes = BytesMut::new();
        if let Some(answer) = Packet::from(answer).within(version, packet_bytes_max) {
            let _ = answer.encode(version, &mut bytes);
        }
        let answer = bytes.freeze();
        Turned { answer, code }
    }
}

/// Waits for the CONNECT.
///
/// # Errors
/// When the first packet is another or none.
pub async fn read_connect(
    io: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
    buf: &mut BytesMut,
) -> Result<Box<Connect>, Turned> {
    let silently = || Turned::silently(ErrorCode::InvalidRequest);
    loop {
        match decoder.next(buf) {
            Ok(Some(Packet::Connect(connect))) => return Ok(connect),
            Ok(Some(_)) => return Err(silently()),
            Ok(None) => {}
            Err(error) => return Err(malformed(&error, decoder.version())),
        }
        buf.reserve(buf.len().clamp(512, 16 << 10));
        match io.read_buf(buf).await {
            Ok(0) | Err(_) => return Err(silently()),
            Ok(_) => {}
        }
    }
}

/// What a CONNECT that is none is answered with. Who does not even speak MQTT is not answered in it.
fn malformed(error: &DecodeError, version: Option<Version>) -> Turned {
    let version = match error {
        DecodeError::UnsupportedVersion { answer_in, .. } => Some(*answer_in),
        _ => version,
    };
    let Some(version) = version else {
        return Turned::silently(ErrorCode::InvalidRequest);
    };
    let mut answer = ConnAck::refusal(error.reason());
    answer.properties.reason_string = Text::try_from(error.to_string()).ok();
    Turned::with(version, (ErrorCode::InvalidRequest, answer), usize::MAX)
}

/// Finds out who the client is, and takes over its session.
///
/// # Errors
/// When it is turned away.
pub async fn greet<'a>(
    door: &'a Arc<Door>,
    connect: Box<Connect>,
    page: Page,
) -> Result<(Box<Client>, Registered<'a>), Turned> {
    let version = connect.version;
    let packet_bytes_max = packet_bytes_max(&connect);
    match open(door, connect, page).await {
        Ok(opened) => Ok(opened),
        Err(Refused {
            reason: own,
            refusal,
        }) => {
            door.metrics.refused(Protocol::Mqtt, &refusal);
            let mut answer =
                ConnAck::refusal(own.unwrap_or_else(|| reason(&refusal, Kind::ConnAck)));
            answer.properties.reason_string = remarks(&refusal).reason_string;
            let answer = (refusal.code(), answer);
            Err(Turned::with(version, answer, packet_bytes_max))
        }
    }
}

/// A refusal, and the reason code for it where MQTT has one of its own.
struct Refused {
    reason: Option<ReasonCode>,
    refusal: Refusal,
}

impl std::convert::From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused {
            reason: None,
            refusal,
        }
    }
}

fn refused(reason: ReasonCode, code: ErrorCode, message: &'static str) -> Refused {
    Refused {
        reason: Some(reason),
        refusal: Refusal::new(code, message),
    }
}

async fn open<'a>(
    door: &'a Arc<Door>,
    connect: Box<Connect>,
    page: Page,
) -> Result<(Box<Client>, Registered<'a>), Refused> {
    if connect.lacks_client_id() || connect.client_id.as_bytes().len() > MQTT_CLIENT_ID_BYTES_MAX {
        let message =
            "a client that wants to keep its session has an identifier, of at most 1024 bytes";
        return Err(refused(
            ReasonCode::ClientIdNotValid,
            ErrorCode::InvalidRequest,
            message,
        ));
    }
    let login = log_in(door, &connect, page)?;
    let principal = login.principal();
    let assigned = connect
        .client_id
        .is_empty()
        .then(|| format!("hw-{}", SessionId::generate()));
    let mut answer = ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: terms(&connect, assigned.as_deref()),
    };
    let needed = Packet::from(answer.clone()).encoded_len(connect.version);
    if needed.is_ok_and(|bytes| bytes > packet_bytes_max(&connect)) {
        return Err(refused(
            ReasonCode::PacketTooLarge,
            ErrorCode::InvalidRequest,
            "the client does not take the answer to its CONNECT",
        ));
    }
    let client_id: Box<str> = assigned
        .as_deref()
        .unwrap_or(connect.client_id.as_str())
        .into();
    let origin = origin(principal.project.id.as_bytes(), &client_id);
    let left = connect.will.as_ref();
    let will = left
        .map(|left| will::take(principal, left, &origin))
        .transpose()?;

    let key = SessionKey::of(principal.project.id, &client_id);
    let mut registered = door.sessions.enter(key.clone()).await;
    let expiry_s = connect.session_expiry_s();
    let asked = Asked {
        client_id,
        expiry_s,
        clean_start: connect.clean_start,
        // Nobody can ask for a session whose name only this connection knows, unless it is told to keep it.
        is_private: assigned.is_some() && expiry_s == 0 && will.is_none(),
        will,
    };
    let claimed = claim(door, &key, &login, &asked).await?;
    registered.set_epoch(claimed.session.epoch);
    answer.session_present = claimed.is_present;
    let mut client = client_of(door, &connect, login, (asked, origin), claimed).await?;
    client.out.push(Packet::from(answer));
    client.release_received();
    Ok((client, registered))
}

/// The credential is the password, whatever the user name, or the data of our own method.
fn log_in(door: &Door, connect: &Connect, page: Page) -> Result<Session, Refused> {
    let said = connect.properties.authentication.as_ref();
    if said.is_some_and(|said| said.method.as_str() != AUTHENTICATION_METHOD) {
        let message = "the only method of enhanced authentication is `highwater`";
        return Err(refused(
            ReasonCode::BadAuthenticationMethod,
            ErrorCode::Unauthenticated,
            message,
        ));
    }
    let credential = said
        .and_then(|said| said.data.as_ref())
        .or(connect.password.as_ref());
    let credential = credential.and_then(|bytes| std::str::from_utf8(bytes.as_bytes()).ok());
    let missing = || {
        Refusal::new(
            ErrorCode::Unauthenticated,
            "the credential is the password; there is none",
        )
    };
    Ok(Session::of(
        door,
        Protocol::Mqtt,
        page,
        credential.ok_or_else(missing)?,
    )?)
}

/// Tells a client's own messages from those of others, and says nothing to anybody else.
fn origin(project: &[u8], client_id: &str) -> Bytes {
    let mut hasher = blake3::Hasher::new_derive_key("highwater 2026-11 message origin");
    hasher.update(project);
    hasher.update(client_id.as_bytes());
    Bytes::copy_from_slice(&hasher.finalize().as_bytes()[..ORIGIN_BYTES])
}

/// What a connection wants of its session.
struct Asked {
    client_id: Box<str>,
    expiry_s: u32,
    clean_start: bool,
    is_private: bool,
    will: Option<Will>,
}

/// A session that is this connection's now.
struct Claimed {
    slot: Option<SessionSlot>,
    session: cluster::Session,
    is_present: bool,
}

/// Takes over the session, wherever it was, by writing it.
async fn claim(
    door: &Arc<Door>,
    key: &SessionKey,
    login: &Session,
    asked: &Asked,
) -> Result<Claimed> {
    let principal = login.principal();
    let fresh = || cluster::Session {
        project: Bytes::copy_from_slice(principal.project.id.as_bytes()),
        client_id: asked.client_id.to_string(),
        id: Bytes::copy_from_slice(SessionId::generate().as_bytes()),
        ..Default::default()
    };
    let own = |session: cluster::Session, epoch| {
        let mut session = cluster::Session {
            epoch,
            expiry_s: asked.expiry_s,
            connected: Some(door.home().into()),
            disconnected_at_ms: 0,
            was_sent_away: false,
            will: asked.will.clone(),
            ..session
        };
        session::set_owner(&mut session, principal);
        session
    };
    if asked.is_private {
        return Ok(Claimed {
            slot: None,
            session: own(fresh(), 1),
            is_present: false,
        });
    }
    for _ in 0..CLAIM_ATTEMPTS {
        let (mut slot, before) = SessionSlot::open(&door.broker, key).await?;
        let now_ms = (door.clock)();
        let epoch = before.as_ref().map_or(1, |session| session.epoch + 1);
        let goes_on = before.as_ref().filter(|session| {
            !asked.clean_start && !session::is_over(session, now_ms) && keeps(session)
        });
        let session = own(goes_on.cloned().unwrap_or_else(fresh), epoch);
        match slot.write(&session).await {
            Ok(()) => {
                if let Some(before) = &before {
                    see_to_will(door, before, goes_on.is_some(), now_ms).await;
                }
                let is_present = goes_on.is_some();
                return Ok(Claimed {
                    slot: Some(slot),
                    session,
                    is_present,
                });
            }
            Err(refusal) if refusal.code() == ErrorCode::PreconditionFailed => {}
            Err(refusal) => return Err(refusal),
        }
    }
    let message = "other connections take the same session at the same time";
    Err(Refusal::new(ErrorCode::Unavailable, message).retry_after_ms(1_000))
}

/// Whether a session was to outlive its connection.
fn keeps(session: &cluster::Session) -> bool {
    session.expiry_s > 0
}

/// The will of the connection before, if this one does not make it void (sections 3.1.2.5, 3.1.3.2.2).
async fn see_to_will(door: &Door, before: &cluster::Session, goes_on: bool, now_ms: u64) {
    let Some(left) = &before.will else {
        return;
    };
    let is_due = match &before.connected {
        // Its connection ends because of this one, without a word from the client.
        Some(_) => !goes_on || left.delay_s == 0,
        // The client was sent elsewhere, and here it is.
        None if before.was_sent_away => false,
        None => !goes_on || will::due_ms(before).is_some_and(|due| due <= now_ms),
    };
    if is_due && let Err(refusal) = will::publish(door, before).await {
        tracing::warn!(%refusal, "a will could not be published");
    }
}

/// What the client is told of how it is served.
fn terms(connect: &Connect, assigned: Option<&str>) -> connack::Properties {
    let said = connect.properties.authentication.clone();
    connack::Properties {
        authentication: said.map(|said| Authentication {
            method: said.method,
            data: None,
        }),
        assigned_client_id: assigned.and_then(|id| Text::try_from(id).ok()),
        server_keep_alive_s: (keep_alive_s(connect) != connect.keep_alive_s)
            .then_some(keep_alive_s(connect)),
        receive_max: NonZeroU16::new(MQTT_RECEIVE_MAX),
        topic_alias_max: Some(MQTT_TOPIC_ALIASES_MAX),
        packet_bytes_max: NonZeroU32::new(MQTT_PACKET_BYTES_MAX as u32),
        ..Default::default()
    }
}

/// The longest packet that the client takes, in bytes.
fn packet_bytes_max(connect: &Connect) -> usize {
    let max = connect.properties.packet_bytes_max;
    max.map_or(usize::MAX, |max| max.get() as usize)
}

/// The keep alive that holds. 3.1.1 cannot be told another than its own.
fn keep_alive_s(connect: &Connect) -> u16 {
    match (connect.version, connect.keep_alive_s) {
        (Version::V5, 0) => MQTT_KEEP_ALIVE_S_MAX,
        (Version::V5, asked) => asked.min(MQTT_KEEP_ALIVE_S_MAX),
        (Version::V3_1_1, asked) => asked,
    }
}

async fn client_of(
    door: &Arc<Door>,
    connect: &Connect,
    login: Session,
    (asked, origin): (Asked, Bytes),
    claimed: Claimed,
) -> Result<Box<Client>> {
    let Claimed { slot, session, .. } = claimed;
    let properties = &connect.properties;
    let receive_max = properties
        .receive_max
        .map_or(usize::from(u16::MAX), |max| usize::from(max.get()));
    let wants_remarks = properties.wants_problem_information();
    let subscriptions = resume(door, &login, &session.subscriptions).await?;
    let keys: Vec<Option<u32>> = subscriptions
        .iter()
        .map(|s| s.as_ref().map(|s| s.key))
        .collect();
    let in_flight = session.in_flight.iter().filter_map(|stored| {
        let key = keys.get(stored.subscription as usize).copied().flatten();
        Some(InFlight {
            id: PacketId::new(stored.packet_id.try_into().ok()?)?,
            qos: Qos::new(stored.qos.try_into().ok()?)?,
            subscription: match key {
                Some(key) => key,
                None if stored.received => u32::MAX,
                None => return None,
            },
            place: Place {
                shard: ShardId(stored.shard),
                at: stored.at,
            },
            is_retained: stored.retained,
            is_received: stored.received,
            is_sent: false,
        })
    });
    let window = Window::new(receive_max.min(MQTT_IN_FLIGHT_MAX), in_flight);
    let now = Instant::now();
    let keep_alive = Duration::from_secs(keep_alive_s(connect).into());
    Ok(Box::new(Client {
        door: door.clone(),
        version: connect.version,
        authentication_method: properties
            .authentication
            .as_ref()
            .map(|said| said.method.detached()),
        identity: Identity {
            client_id: asked.client_id,
            session: session::id_of(&session),
            epoch: session.epoch,
            origin,
        },
        expiry_s: asked.expiry_s,
        will: asked.will.map(Box::new),
        silence_max: (!keep_alive.is_zero()).then_some(keep_alive * 3 / 2),
        out: Outbox::new(connect.version, packet_bytes_max(connect), wants_remarks),
        uses: session
            .received
            .as_ref()
            .map(Uses::restore)
            .unwrap_or_default(),
        window,
        next_key: keys.len() as u32,
        subscriptions: subscriptions.into_iter().flatten().collect(),
        saver: Saver::new(slot, asked.expiry_s > 0),
        topic: None,
        aliases_out: Aliases::new(properties.topic_alias_max.unwrap_or(0)),
        receiving: Default::default(),
        unreleased: 0,
        aliases_in: Default::default(),
        publishes: Vec::new(),
        publish_bytes: 0,
        unanswered: 0,
        wanted: None,
        since: now,
        heard: now,
        is_listening: true,
        end: None,
        last_words: Bytes::new(),
        login,
    }))
}

/// Opens the session's subscriptions where they were. One that the client may no longer have, or that cannot
/// go on, is none.
async fn resume(
    door: &Arc<Door>,
    login: &Session,
    stored: &[StoredSubscription],
) -> Result<Vec<Option<Subscription>>> {
    let opening = stored.iter().enumerate().map(|(at, stored)| async move {
        match resume_one(door, login, at as u32, stored).await {
            Ok(subscription) => Ok(Some(subscription)),
            Err(refusal) if refusal.code().is_retryable() => Err(refusal),
            Err(refusal) => {
                tracing::debug!(%refusal, "a subscription is not resumed");
                Ok(None)
            }
        }
    });
    join_all(opening).await.into_iter().collect()
}

async fn resume_one(
    door: &Arc<Door>,
    login: &Session,
    key: u32,
    stored: &StoredSubscription,
) -> Result<Subscription> {
    let principal = login.principal();
    let written = Written::parse(&stored.filter)?;
    let cursors = door.broker.cursors();
    let (from, sent_before) = match &written.group {
        // The group has gone on without it.
        Some(_) => (From::Latest, None),
        None => {
            let sent = cursors.open(principal.project.id, &stored.sent)?;
            (From::Cursor(stored.cursor.clone()), Some(sent))
        }
    };
    let reader = open_reader(door, principal, &written, from).await?;
    let retained = match stored.owes_retained {
        true => Some(open_retained(door, principal, &written.filter).await?),
        false => None,
    };
    Ok(Subscription {
        key,
        text: stored.filter.as_str().into(),
        options: Options {
            qos: u8::try_from(stored.qos)
                .ok()
                .and_then(Qos::new)
                .unwrap_or(Qos::ExactlyOnce),
            no_local: stored.no_local,
            retain_as_published: stored.retain_as_published,
            id: SubscriptionId::new(stored.id),
        },
        reader,
        retained,
        retained_were_sent: stored.sent_retained,
        backlog: Default::default(),
        sent_before,
        gaps: Vec::new(),
    })
}
