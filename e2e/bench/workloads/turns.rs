//! Contenders that take turns with servers of their own, round after round, so that all of them meet the same noise.

use anyhow::Result;

use crate::{Scale, door::Door, progress, service::Owner};

/// Gives everyone a turn in every round. Of each contender, the outcome in the middle by its rate counts.
///
/// # Errors
/// When Highwater fails. A rival that fails is left out, with the reason said.
pub async fn take<T>(
    contenders: &[(Owner, Door)],
    scale: Scale,
    turn: impl AsyncFn(Owner, Door) -> Result<T>,
    rate: impl Fn(&T) -> f64,
) -> Result<Vec<T>> {
    let mut rounds: Vec<Vec<T>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..scale.rounds {
        for (&(owner, door), rounds) in contenders.iter().zip(&mut rounds) {
            let is_rival = owner != Owner::Highwater;
            if is_rival && !scale.with_rivals {
                continue;
            }
            match turn(owner, door).await {
                Err(error) if is_rival => {
                    let name = door.name();
                    progress(&format!("without {owner:?}, {name}: {error:#}"));
                }
                outcome => rounds.push(outcome?),
            }
        }
    }
    let middle = |mut rounds: Vec<T>| {
        rounds.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
        let middle = rounds.len() / 2;
        rounds.into_iter().nth(middle)
    };
    Ok(rounds.into_iter().filter_map(middle).collect())
}
