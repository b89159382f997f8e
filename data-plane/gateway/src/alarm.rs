//! A timer for deadlines that move with every packet, so that moving them costs nothing.

use std::{future::pending, pin::Pin};

use tokio::time::{Instant, Sleep, sleep_until};

/// Rings no later than it was asked to, and perhaps earlier: whoever is woken looks at what is due. It is set anew
/// only when it has to ring earlier than it would, or has rung.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Waits until that time, or for ever. May be dropped and asked again, with another time.
    pub async fn ring(&mut self, due: Option<Instant>) {
        let Some(due) = due else {
            return pending().await;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() > due || sleep.is_elapsed() {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_rings_by_the_earliest_time_it_was_asked_for_and_again_by_the_next() {
        let (mut alarm, start) = (Alarm::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let asked = |alarm: &mut Alarm, due| {
            let ringing = Box::pin(async move { alarm.ring(due).await });
            futures_util::FutureExt::now_or_never(ringing)
        };
        assert!(asked(&mut alarm, Some(after(30))).is_none());
        assert!(asked(&mut alarm, None).is_none());
        alarm.ring(Some(after(10))).await;
        assert_eq!(Instant::now(), after(10));
        alarm.ring(Some(after(20))).await;
        assert_eq!(Instant::now(), after(20));
        // Asked for a later time before it rang: it may ring early, once.
        assert!(asked(&mut alarm, Some(after(40))).is_none());
        alarm.ring(Some(after(60))).await;
        assert_eq!(Instant::now(), after(40));
        alarm.ring(Some(after(60))).await;
        assert_eq!(Instant::now(), after(60));
    }
}
