//! P12: a stuck subscriber costs a fixed amount; it lags on the log and its node grows no queue for it.

use highwater_e2e::{Cluster, condition::within_deadline, ledger::check_consecutive, usage::Usage};
use highwater_proto::client::subscribe_request::Flow;

const SUBSCRIBERS: usize = 60;
const MESSAGES: usize = 3_000;
const PAYLOAD_BYTES: usize = 32 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_subscribers_cost_a_fixed_amount_and_miss_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client(0);
    let payload = "z".repeat(PAYLOAD_BYTES);
    let mut stuck = Vec::new();
    for number in 0..SUBSCRIBERS {
        // Half of them have no credit, the others do not read their socket.
        let none = (number % 2 == 0).then_some(Flow {
            messages: 1,
            bytes: 0,
        });
        // On a connection of its own: what nobody reads fills the window of the whole connection.
        let subscriber = cluster.client(0);
        let subscription = subscriber.subscribe_with_credit(&["stuck"], "latest", none);
        stuck.push(subscription.await.unwrap());
    }
    // Fills every cache of the node, so that what comes after is growth.
    let publish = || client.publish_stream_of("stuck", &payload, MESSAGES, 50);
    within_deadline("all is acknowledged", publish())
        .await
        .unwrap();
    let before = Usage::of(&[cluster.pid(0)]).unwrap().resident_bytes;
    within_deadline("all is acknowledged", publish())
        .await
        .unwrap();
    let after = Usage::of(&[cluster.pid(0)]).unwrap().resident_bytes;

    // A queue for each would have grown by all that was published, 60 times. What a node keeps anyway
    // (applied records until they are in a checkpoint, the store's own buffers) comes and goes by several
    // hundred megabytes meanwhile, so a tenth of that is the mark.
    let queues = (SUBSCRIBERS * MESSAGES * PAYLOAD_BYTES) as u64;
    let growth = after.saturating_sub(before);
    assert!(
        growth < queues / 10,
        "{growth} bytes more, where queues would be {queues}"
    );

    for mut subscription in stuck.into_iter().take(4) {
        subscription
            .add_credit(2 * MESSAGES as u64, 0)
            .await
            .unwrap();
        let records = subscription.records(2 * MESSAGES);
        let records = within_deadline("what was missed is delivered", records).await;
        check_consecutive(&records.unwrap(), 0);
    }
}
