//! What the service signs tokens with.
//!
//! Keys are published as a set (RFC 7517) at `/.well-known/jwks.json`, and one of them signs: the one that began to
//! last. A successor is published before it begins, and the key before it stays good for as long as a token that
//! it has signed can be, so changing over refuses nobody. Private halves are in the catalogue, sealed.

use crate::{
    admin::Caller,
    api::Api,
    refusal::Result,
    write::{Change, Now},
};

mod routes;
mod rules;
mod shape;

use rules::Pair;

pub use routes::{public, routes};
pub use rules::{is_over, signer};

/// Makes a key that signs at once, if there is none.
///
/// # Errors
/// Why it could not be made.
pub async fn ensure(api: &Api) -> Result<()> {
    let ms = (api.clock)();
    match api
        .replica
        .read(|catalogue| signer(catalogue, ms).is_some())
    {
        true => Ok(()),
        false => make(api, rules::ensure).await,
    }
}

/// Makes a first key, or a successor of one whose term is over.
///
/// # Errors
/// Why it could not be made.
pub async fn tend(api: &Api) -> Result<()> {
    let ms = (api.clock)();
    match api
        .replica
        .read(|catalogue| rules::is_served(catalogue, ms))
    {
        true => Ok(()),
        false => make(api, rules::tend).await,
    }
}

async fn make(api: &Api, rule: impl Fn(&Now<'_>, &Pair) -> Result<Change>) -> Result<()> {
    let (service, pair) = (Caller::service(), Pair::draw(&api.sealer)?);
    let made = api.writer.make(|catalogue| {
        let now = Now {
            catalogue,
            caller: &service,
            ms: (api.clock)(),
        };
        rule(&now, &pair)
    });
    made.await.map(|_| ())
}
