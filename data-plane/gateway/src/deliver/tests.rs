//! What is delivered, and that it is encoded once.

use std::sync::Arc;

use highwater_broker::{
    catalogue::Catalogue, cursor::FeedPosition, handle::ShardHandle, segment::TopicIdentity,
};
use highwater_proto::{
    client::{Header, Message, Record, SubscribeResponse},
    ids::{ProjectId, TenantId, TopicId},
    names::TopicName,
};
use prost::Message as _;

use highwater_broker::segment::Segment;
use highwater_proto::{frame::Frame, limits::RESPONSE_BYTES_MAX};

use super::{proto::frames, *};

fn broker(project: &Project) -> Broker {
    let (shard, _) = ShardHandle::new(ShardId(0), Arc::default());
    let (meta, _) = ShardHandle::new(ShardId(1), Arc::default());
    let catalogue = Catalogue::new([project.clone()], []);
    Broker::new(b"secret", catalogue, vec![shard], meta)
}

fn project() -> Project {
    let (id, tenant) = (ProjectId::generate(), TenantId::generate());
    Project::new(id, tenant, "p", vec![ShardId(0)])
}

fn message(payload_bytes: usize) -> Message {
    Message {
        payload: vec![7; payload_bytes].into(),
        headers: vec![Header {
            name: "n".into(),
            value: "v".into(),
        }],
        ttl_ms: 5,
        ..Message::default()
    }
}

fn segment(project: &Project, messages: &[Message]) -> Arc<Segment> {
    let name = TopicName::try_from("a/b").unwrap();
    let topic = Arc::new(TopicIdentity::new(project.id, name, TopicId(3)));
    let messages = messages.iter().map(|m| m.encode_to_vec().into()).collect();
    Arc::new(Segment::new(topic, 0, 70, 0, 9_000, messages))
}

fn delivery(slices: Vec<Slice>, cursors: CursorScope) -> Delivery {
    Delivery {
        gaps: Vec::new(),
        slices,
        cursors,
        is_retained: false,
    }
}

fn decode(frames: &[Frame]) -> Vec<Record> {
    let decode = |frame: &Frame| SubscribeResponse::decode(frame.to_bytes()).unwrap().records;
    frames.iter().flat_map(decode).collect()
}

#[test]
fn a_record_is_the_stored_message_with_its_place() {
    let project = project();
    let broker = broker(&project);
    let messages = [message(0), message(10), message(300)];
    let slice = Slice::whole(segment(&project, &messages));
    let others = vec![FeedPosition {
        shard: ShardId(0),
        next_position: 1,
        retained_until: None,
    }];
    for scope in [
        CursorScope::Topic,
        CursorScope::Shard,
        CursorScope::Shards(others),
    ] {
        let frames = frames(
            &broker,
            &project,
            &delivery(vec![slice.clone()], scope.clone()),
        );
        let records = decode(&frames);
        assert_eq!(records.len(), 3);
        for (index, (record, message)) in records.iter().zip(&messages).enumerate() {
            let cursor = record_cursor(&broker, &project, ShardId(0), &scope, &slice, index);
            let expected = Record {
                payload: message.payload.clone(),
                headers: message.headers.clone(),
                ttl_ms: 5,
                topic: "a/b".into(),
                offset: index as u64,
                published_at_ms: 9_000,
                cursor,
                ..Record::default()
            };
            assert_eq!(*record, expected);
        }
    }
}

#[test]
fn all_subscribers_of_a_topic_are_sent_the_same_memory() {
    let project = project();
    let broker = broker(&project);
    let segment = segment(&project, &[message(100), message(100), message(100)]);
    let send = |start, end| {
        let slice = Slice {
            segment: segment.clone(),
            start,
            end,
        };
        let frames = frames(
            &broker,
            &project,
            &delivery(vec![slice], CursorScope::Topic),
        );
        frames[0].segments()[0].clone()
    };
    let (whole, again, last) = (send(0, 3), send(0, 3), send(2, 3));
    assert_eq!(whole.as_ptr(), again.as_ptr());
    assert!(whole.as_ptr_range().contains(&last.as_ptr()));
}

#[test]
fn a_response_is_closed_at_its_size_and_holds_one_record_at_least() {
    let project = project();
    let broker = broker(&project);
    let messages: Vec<Message> = (0..30).map(|_| message(RESPONSE_BYTES_MAX / 10)).collect();
    let small = Slice::whole(segment(&project, &messages));
    let large = Slice::whole(segment(&project, &[message(RESPONSE_BYTES_MAX)]));
    let slices = vec![small.clone(), large.clone(), small, large];
    let frames = frames(&broker, &project, &delivery(slices, CursorScope::Topic));
    assert_eq!(decode(&frames).len(), 62);
    for frame in &frames {
        let records = decode(std::slice::from_ref(frame)).len();
        assert!(records == 1 || frame.encoded_len() <= RESPONSE_BYTES_MAX);
    }
    assert!(frames.len() <= 10);
}
