//! Whether a tenant or project may be used.

use highwater_proto::control;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::refusal::{Result, invalid};

/// Whether it may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may.
    #[default]
    Active,
    /// Nothing is let in, and what is open is closed. Data stays.
    Suspended,
    /// Its data is being removed; it is gone when that is done.
    Deleting,
}

impl State {
    /// # Errors
    /// For the state that only DELETE leads to.
    pub fn check_settable(self) -> Result<()> {
        match self {
            State::Active | State::Suspended => Ok(()),
            State::Deleting => Err(invalid(
                "`state` can be set to `active` or `suspended`; DELETE begins a deletion",
            )),
        }
    }
}

impl From<control::State> for State {
    fn from(state: control::State) -> State {
        match state {
            control::State::Active => State::Active,
            control::State::Suspended => State::Suspended,
            control::State::Deleting => State::Deleting,
        }
    }
}

impl From<State> for control::State {
    fn from(state: State) -> control::State {
        match state {
            State::Active => control::State::Active,
            State::Suspended => control::State::Suspended,
            State::Deleting => control::State::Deleting,
        }
    }
}
