//! What applying must keep true whatever the commands are.

use std::{cell::RefCell, collections::HashMap};

use proptest::prelude::*;

use super::*;

const PROJECTS: [ProjectId; 2] = [
    ProjectId::from_bytes([1; 16]),
    ProjectId::from_bytes([2; 16]),
];

/// Remembers in memory, as the store does on disk.
#[derive(Default)]
struct Memory(RefCell<HashMap<(TopicId, [u8; 16]), u64>>);

impl Remembered for Memory {
    fn offset_of(&self, topic: TopicId, key: &[u8; 16], _now_ms: u64) -> Option<u64> {
        self.0.borrow().get(&(topic, *key)).copied()
    }
}

impl Memory {
    fn keep(&self, effects: &Effects) {
        for (topic, key, offset) in &effects.remember {
            self.0.borrow_mut().insert((*topic, *key), *offset);
        }
    }
}

fn publish(key: Option<u8>) -> cluster::Publish {
    cluster::Publish {
        message: Bytes::from_static(b"message"),
        idempotency: key.map(|k| Bytes::from(vec![k; 16])).unwrap_or_default(),
        ..Default::default()
    }
}

fn batch(time_ms: u64, runs: Vec<(usize, &str, Vec<Option<u8>>)>) -> cluster::Command {
    let runs = runs
        .into_iter()
        .map(|(project, topic, keys)| cluster::TopicRun {
            project: Bytes::copy_from_slice(PROJECTS[project].as_bytes()),
            topic: topic.to_owned(),
            publishes: keys.into_iter().map(publish).collect(),
            policy: None,
        });
    let batch = cluster::PublishBatch {
        time_ms,
        runs: runs.collect(),
    };
    cluster::Command {
        command: Some(cluster::command::Command::Publish(batch)),
    }
}

fn delete(project: usize, topic: &str) -> cluster::Command {
    delete_if(project, topic, None)
}

fn delete_if(project: usize, topic: &str, end: Option<TopicEnd>) -> cluster::Command {
    let (if_next_offset_plus_one, if_topic_id_plus_one) = TopicEnd::to_wire(end);
    let delete = cluster::DeleteTopic {
        project: Bytes::copy_from_slice(PROJECTS[project].as_bytes()),
        topic: topic.to_owned(),
        if_next_offset_plus_one,
        if_topic_id_plus_one,
    };
    cluster::Command {
        command: Some(cluster::command::Command::DeleteTopic(delete)),
    }
}

/// Publishes one record with each of these.
fn retain(project: usize, topic: &str, retain: &[Retain]) -> cluster::Command {
    let mut command = batch(1, vec![(project, topic, vec![None; retain.len()])]);
    if let Some(cluster::command::Command::Publish(batch)) = &mut command.command {
        for (publish, retain) in batch.runs[0].publishes.iter_mut().zip(retain) {
            publish.retain = retain.to_wire().into();
        }
    }
    command
}

/// Names and retained offsets.
fn retained(state: &ShardState, filters: &[&str]) -> Vec<(String, u64)> {
    let filters = filters.iter().map(|f| TopicFilter::try_from(*f).unwrap());
    let filters: Vec<_> = filters.collect();
    let topics = state.retaining(PROJECTS[0], &filters);
    topics
        .map(|(topic, record)| (topic.identity.name.to_string(), record.offset))
        .collect()
}

fn outcomes(effects: &Effects) -> Vec<Result<Published>> {
    match &effects.answer {
        Answer::Published(outcomes) => outcomes.clone(),
        other => panic!("a publish was answered with {other:?}"),
    }
}

fn any_retain() -> impl Strategy<Value = Retain> {
    prop_oneof![
        Just(Retain::Unchanged),
        Just(Retain::Set),
        Just(Retain::Clear)
    ]
}

fn any_command() -> impl Strategy<Value = cluster::Command> {
    let topic = prop::sample::select(vec!["a", "a/b", "a/c", "b"]);
    let keys = prop::collection::vec(prop::option::of(0u8..6), 1..5);
    let runs = prop::collection::vec((0usize..2, topic.clone(), keys), 1..4);
    prop_oneof![
        8 => (0u64..100, runs).prop_map(|(time, runs)| batch(time, runs)),
        2 => (topic.clone(), prop::collection::vec(any_retain(), 1..4))
            .prop_map(|(topic, each)| retain(0, topic, &each)),
        1 => (0usize..2, topic).prop_map(|(project, topic)| delete(project, topic)),
    ]
}

proptest! {
    #[test]
    fn offsets_and_positions_have_no_holes(commands in prop::collection::vec(any_command(), 1..40)) {
        let (mut state, memory) = (ShardState::default(), Memory::default());
        let mut next_position = 0;
        let mut ends: HashMap<TopicId, u64> = HashMap::new();
        for command in commands {
            let effects = state.apply(command, &memory);
            for segment in &effects.segments {
                prop_assert_eq!(segment.base_position, next_position);
                next_position = segment.end_position();
                let end = ends.entry(segment.topic.id).or_default();
                prop_assert_eq!(segment.base_offset, *end);
                *end = segment.end_offset();
            }
            memory.keep(&effects);
        }
        prop_assert_eq!(state.next_position(), next_position);
    }

    #[test]
    fn a_repeated_key_gets_the_first_offset(commands in prop::collection::vec(any_command(), 1..40)) {
        let (mut state, memory) = (ShardState::default(), Memory::default());
        let mut first: HashMap<(TopicId, [u8; 16]), u64> = HashMap::new();
        for command in commands {
            let keys: Vec<Option<[u8; 16]>> = match &command.command {
                Some(cluster::command::Command::Publish(batch)) => batch.runs.iter()
                    .flat_map(|run| run.publishes.iter())
                    .map(|p| p.idempotency[..].try_into().ok())
                    .collect(),
                _ => vec![],
            };
            let effects = state.apply(command, &memory);
            if keys.is_empty() { continue; }
            for (key, outcome) in keys.into_iter().zip(outcomes(&effects)) {
                let published = outcome.unwrap();
                if let Some(key) = key {
                    let known = first.get(&(published.topic, key)).copied();
                    prop_assert_eq!(published.duplicate, known.is_some());
                    first.entry((published.topic, key)).or_insert(published.offset);
                    prop_assert_eq!(first[&(published.topic, key)], published.offset);
                }
            }
            memory.keep(&effects);
        }
    }

    #[test]
    fn a_restored_state_goes_on_like_the_original(commands in prop::collection::vec(any_command(), 2..40)) {
        let (mut state, memory) = (ShardState::default(), Memory::default());
        let (before, after) = commands.split_at(commands.len() / 2);
        for command in before {
            let effects = state.apply(command.clone(), &memory);
            memory.keep(&effects);
        }
        let mut restored = ShardState::restore(
            state.counters(),
            state.topics().cloned(),
            Ledger::default(),
        );
        for command in after {
            let effects = state.apply(command.clone(), &memory);
            let again = restored.apply(command.clone(), &memory);
            prop_assert_eq!(&effects.answer, &again.answer);
            memory.keep(&effects);
        }
        prop_assert_eq!(state.counters(), restored.counters());
        prop_assert_eq!(retained(&state, &["#"]), retained(&restored, &["#"]));
        let with_one = state.topics().filter(|t| t.retained.is_some()).count();
        prop_assert_eq!(retained(&state, &["#"]).len(), with_one);
    }
}

#[test]
fn a_topic_made_again_is_another_topic() {
    let (mut state, memory) = (ShardState::default(), Memory::default());
    let first = outcomes(&state.apply(batch(1, vec![(0, "a", vec![None])]), &memory));
    for existed in [true, false] {
        let answer = state.apply(delete(0, "a"), &memory).answer;
        assert_eq!(answer, Answer::Deleted(Ok(existed)));
    }
    let second = outcomes(&state.apply(batch(1, vec![(0, "a", vec![None])]), &memory));
    let (first, second) = (first[0].clone().unwrap(), second[0].clone().unwrap());
    assert_ne!(first.topic, second.topic);
    assert_eq!((first.offset, second.offset), (0, 0));
}

#[test]
fn a_conditional_append_is_refused_once_the_topic_moved_on() {
    let (mut state, memory) = (ShardState::default(), Memory::default());
    let conditional = |next_offset: u64| {
        let mut command = batch(1, vec![(0, "a", vec![None])]);
        if let Some(cluster::command::Command::Publish(batch)) = &mut command.command {
            batch.runs[0].publishes[0].if_next_offset_plus_one = next_offset + 1;
        }
        command
    };
    assert!(outcomes(&state.apply(conditional(0), &memory))[0].is_ok());
    let refusal = outcomes(&state.apply(conditional(0), &memory))[0]
        .clone()
        .unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::PreconditionFailed);
    assert!(outcomes(&state.apply(conditional(1), &memory))[0].is_ok());
}

#[test]
fn a_conditional_append_to_a_topic_that_was_deleted_is_refused_and_makes_none() {
    let (mut state, memory) = (ShardState::default(), Memory::default());
    let conditional = |topic: u64, next_offset: u64| {
        let mut command = batch(1, vec![(0, "a", vec![None])]);
        if let Some(cluster::command::Command::Publish(batch)) = &mut command.command {
            let publish = &mut batch.runs[0].publishes[0];
            publish.if_next_offset_plus_one = next_offset + 1;
            publish.if_topic_id_plus_one = topic + 1;
        }
        command
    };
    let refused = |effects: &Effects| {
        let outcome = outcomes(effects)[0].clone();
        outcome.unwrap_err().code() == ErrorCode::PreconditionFailed
    };
    state.apply(batch(1, vec![(0, "a", vec![None])]), &memory);
    assert!(outcomes(&state.apply(conditional(0, 1), &memory))[0].is_ok());
    state.apply(delete(0, "a"), &memory);
    assert!(refused(&state.apply(conditional(0, 2), &memory)));
    assert_eq!(state.topics().count(), 0);
    // The same name and the same offset, and yet not the topic that was meant.
    state.apply(batch(1, vec![(0, "a", vec![None, None])]), &memory);
    assert!(refused(&state.apply(conditional(0, 2), &memory)));
    assert!(outcomes(&state.apply(conditional(1, 2), &memory))[0].is_ok());
}

#[test]
fn topics_are_found_by_filter_inside_their_project_only() {
    let (mut state, memory) = (ShardState::default(), Memory::default());
    for topic in ["a", "a/b", "a/b/c", "ab", "b"] {
        state.apply(batch(1, vec![(0, topic, vec![None])]), &memory);
    }
    state.apply(batch(1, vec![(1, "a/x", vec![None])]), &memory);
    let found = |filters: &[&str], after: Option<&str>| -> Vec<String> {
        let parse = |f: &&str| TopicFilter::try_from(*f).unwrap();
        let filters: Vec<_> = filters.iter().map(parse).collect();
        let after = after.map(|a| TopicName::try_from(a).unwrap());
        let topics = state.matching(PROJECTS[0], &filters, after.as_ref());
        topics.map(|t| t.identity.name.to_string()).collect()
    };
    assert_eq!(found(&["a/#"], None), ["a", "a/b", "a/b/c"]);
    assert_eq!(found(&["#"], None), ["a", "a/b", "a/b/c", "ab", "b"]);
    assert_eq!(found(&["#"], Some("a/b")), ["a/b/c", "ab", "b"]);
    assert_eq!(found(&["b", "a/+"], None), ["a/b", "b"]);
    assert_eq!(found(&["b"], Some("a")), ["b"]);
    assert_eq!(found(&["x/#"], None), Vec::<String>::new());
}

#[test]
fn the_last_record_that_was_retained_is_until_it_is_cleared() {
    use Retain::{Clear, Set, Unchanged};
    let (mut state, memory) = (ShardState::default(), Memory::default());
    let apply = |state: &mut ShardState, topic, each: &[Retain]| {
        let effects = state.apply(retain(0, topic, each), &memory);
        effects.retained.len()
    };
    let a = |offset| vec![("a".to_owned(), offset)];
    assert_eq!(apply(&mut state, "a", &[Unchanged]), 0);
    assert_eq!(retained(&state, &["#"]), []);
    assert_eq!(apply(&mut state, "a", &[Set, Unchanged]), 1);
    assert_eq!(retained(&state, &["#"]), a(1));
    assert_eq!(apply(&mut state, "a", &[Unchanged]), 0);
    assert_eq!(apply(&mut state, "a", &[Set, Clear, Set, Unchanged]), 1);
    assert_eq!(retained(&state, &["#"]), a(6));
    for (filters, found) in [(vec!["a"], 1), (vec!["b", "a/#"], 1), (vec!["b"], 0)] {
        assert_eq!(retained(&state, &filters).len(), found, "{filters:?}");
    }
    let id = state.topics().next().unwrap().identity.id;
    assert_eq!(state.topic(id).unwrap().retained.unwrap().position, 6);
    assert_eq!(apply(&mut state, "a", &[Clear]), 1);
    assert_eq!(apply(&mut state, "a", &[Clear]), 0);
    assert_eq!(retained(&state, &["#"]), []);
    assert_eq!(apply(&mut state, "a", &[Set]), 1);
    state.apply(delete(0, "a"), &memory);
    assert_eq!(retained(&state, &["#"]), []);
}

#[test]
fn a_duplicate_or_refused_publish_retains_nothing() {
    let (mut state, memory) = (ShardState::default(), Memory::default());
    let with = |change: &dyn Fn(&mut cluster::Publish), each| {
        let mut command = retain(0, "a", &[each]);
        if let Some(cluster::command::Command::Publish(batch)) = &mut command.command {
            change(&mut batch.runs[0].publishes[0]);
        }
        command
    };
    let keyed = |publish: &mut cluster::Publish| publish.idempotency = vec![1; 16].into();
    memory.keep(&state.apply(with(&keyed, Retain::Set), &memory));
    state.apply(retain(0, "a", &[Retain::Set]), &memory);
    state.apply(with(&keyed, Retain::Clear), &memory);
    let late = |publish: &mut cluster::Publish| publish.if_next_offset_plus_one = 1;
    state.apply(with(&late, Retain::Clear), &memory);
    assert_eq!(retained(&state, &["#"]), [("a".to_owned(), 1)]);
}

#[test]
fn a_conditional_deletion_is_refused_once_the_topic_moved_on() {
    let (mut state, memory) = (ShardState::default(), Memory::default());
    let end = |topic: Option<u64>, next_offset| {
        Some(TopicEnd {
            topic: topic.map(TopicId),
            next_offset,
        })
    };
    state.apply(batch(1, vec![(0, "a", vec![None, None])]), &memory);
    for refused in [end(None, 1), end(Some(0), 3), end(Some(1), 2)] {
        let answer = state.apply(delete_if(0, "a", refused), &memory).answer;
        let Answer::Deleted(Err(refusal)) = answer else {
            panic!("{refused:?} was answered with {answer:?}");
        };
        assert_eq!(refusal.code(), ErrorCode::PreconditionFailed);
    }
    for existed in [true, false] {
        let answer = state.apply(delete_if(0, "a", end(Some(0), 2)), &memory);
        assert_eq!(answer.answer, Answer::Deleted(Ok(existed)));
    }
}

#[test]
fn publishes_that_belong_together_are_appended_together_or_not_at_all() {
    let (mut state, memory) = (ShardState::default(), Memory::default());
    // Two documents and what is said of them elsewhere, by two writers who have seen the same end.
    let commit = |next_offset: u64| {
        let runs = vec![(0, "documents", vec![None; 4]), (0, "audit", vec![None; 2])];
        let mut command = batch(1, runs);
        let Some(cluster::command::Command::Publish(batch)) = &mut command.command else {
            panic!("a batch is a publish command");
        };
        for (at, publish) in batch.runs[0].publishes.iter_mut().enumerate() {
            publish.group = 1 + at as u32 / 2;
            if at % 2 == 0 {
                publish.if_next_offset_plus_one = next_offset + 1;
            }
        }
        for (at, publish) in batch.runs[1].publishes.iter_mut().enumerate() {
            publish.group = 1 + at as u32;
        }
        command
    };
    let is_done = |effects: &Effects| -> Vec<bool> {
        let outcomes = outcomes(effects);
        outcomes.iter().map(Result::is_ok).collect()
    };
    let effects = state.apply(commit(0), &memory);
    assert_eq!(is_done(&effects), [true, true, false, false, true, false]);
    let [named, told] = ["documents", "audit"].map(|name| TopicName::try_from(name).unwrap());
    assert_eq!(state.named(PROJECTS[0], &named).unwrap().next_offset, 2);
    assert_eq!(state.named(PROJECTS[0], &told).unwrap().next_offset, 1);

    let effects = state.apply(delete(0, "audit"), &memory);
    assert_eq!(effects.deleted.len(), 1);
    let effects = state.apply(commit(7), &memory);
    assert_eq!(is_done(&effects), [false; 6]);
    assert!(effects.segments.is_empty());
    let refused = state.named(PROJECTS[0], &told);
    assert!(
        refused.is_none(),
        "what is refused with others makes no topic"
    );
}
