//! The same load on every contender, in turns, so that all of them meet the same noise.

use anyhow::Result;

use crate::{
    Scale,
    contender::{Contender, Shape},
    measure::{Measured, middle},
    progress,
};

/// What one contender reached.
pub struct Outcome {
    /// Its name.
    pub contender: String,
    /// Its measurement in the middle.
    pub measured: Measured,
}

/// Runs the load on all of them, round after round.
///
/// # Errors
/// When Highwater fails. A rival that fails is left out, with the reason said.
pub async fn run(contenders: &[Contender], shape: Shape, scale: Scale) -> Result<Vec<Outcome>> {
    let mut rounds: Vec<Vec<Measured>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..=scale.rounds {
        for (contender, measured) in contenders.iter().zip(&mut rounds) {
            // The first round warms everything up.
            let seconds = if round == 0 { 1.0 } else { scale.seconds };
            let outcome = contender.measure(shape, seconds).await;
            match outcome {
                Err(error) if !matches!(contender, Contender::Highwater(_)) => {
                    progress(&format!("{error:#}"));
                }
                outcome => {
                    let outcome = outcome?;
                    progress(&format!("{contender}: {:.0}/s", outcome.load.rate()));
                    if round > 0 {
                        measured.push(outcome);
                    }
                }
            }
        }
    }
    let outcomes = contenders.iter().zip(rounds);
    let outcomes = outcomes.filter(|(_, rounds)| !rounds.is_empty());
    Ok(outcomes
        .map(|(contender, rounds)| Outcome {
            contender: contender.to_string(),
            measured: middle(rounds),
        })
        .collect())
}

/// The rate of a contender whose name begins like this, if it took part.
pub fn rate_of(outcomes: &[Outcome], name: &str) -> Option<f64> {
    find(outcomes, name).map(|measured| measured.load.rate())
}

/// The measurement of a contender whose name begins like this, if it took part.
pub fn find<'a>(outcomes: &'a [Outcome], name: &str) -> Option<&'a Measured> {
    let mut outcomes = outcomes.iter();
    outcomes
        .find(|outcome| outcome.contender.starts_with(name))
        .map(|outcome| &outcome.measured)
}
