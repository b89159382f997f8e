//! `highwater key`: makes API keys, and the hashes of them that the catalogue file holds.

use std::path::PathBuf;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_node::{KEY_PREFIX, KeyHasher, SecretHash};
use highwater_proto::ids::KeyId;
use serde_json::json;

use crate::{exit::Exit, output::Output};

/// Arguments of `highwater key`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a key: the text for the client, its id and hash for the catalogue file
    New(SecretArgs),
    /// Print id and hash of a key that was made before; the key is read from stdin
    Hash(SecretArgs),
}

#[derive(Debug, clap::Args)]
struct SecretArgs {
    /// The file with the cluster's secret
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
}

impl SecretArgs {
    fn hasher(&self) -> anyhow::Result<KeyHasher> {
        let path = &self.secret_file;
        let secret = std::fs::read_to_string(path);
        let secret = secret.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(KeyHasher::new(secret.trim_end().as_bytes()))
    }
}

/// Runs it.
pub fn run(args: Args, output: Output) -> anyhow::Result<()> {
    match args.command {
        Command::New(secret) => {
            let id = KeyId::generate();
            let (key, hash) = secret.hasher()?.make_key(id, &rand::random());
            let (id, hash) = (id.to_string(), hash.to_hex());
            let json = json!({ "id": id, "key": key, "secret_hash": hash });
            output.result(&json, || {
                format!(
                    "# For the client, shown only now:\n# {key}\n[[keys]]\nid = \"{id}\"\n\
                     project = \"prj_…\"\nsecret_hash = \"{hash}\"\n\
                     permissions = [{{ operations = [\"publish\", \"subscribe\"], topics = \"#\" }}]"
                )
            })
        }
        Command::Hash(secret) => {
            let mut key = String::new();
            std::io::stdin().read_line(&mut key)?;
            let hashed = hash(&secret.hasher()?, key.trim());
            let (id, hash) = hashed.ok_or_else(|| Exit::usage("stdin holds no key"))?;
            let (id, hash) = (id.to_string(), hash.to_hex());
            let json = json!({ "id": id, "secret_hash": hash });
            output.result(&json, || format!("id = \"{id}\"\nsecret_hash = \"{hash}\""))
        }
    }
}

/// The id of a key, and the hash the catalogue holds of it.
pub fn hash(hasher: &KeyHasher, key: &str) -> Option<(KeyId, SecretHash)> {
    let (id, random) = parse(key)?;
    Some((id, hasher.make_key(id, &random).1))
}

/// The id and the random bytes that a key was made of.
fn parse(key: &str) -> Option<(KeyId, [u8; 32])> {
    let (id, secret) = key.strip_prefix(KEY_PREFIX)?.split_once('_')?;
    let random = URL_SAFE_NO_PAD.decode(secret).ok()?;
    Some((
        format!("{}{id}", KeyId::PREFIX).parse().ok()?,
        random.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_key_is_that_of_its_making() {
        let hasher = KeyHasher::new(b"secret of the cluster");
        let id = KeyId::generate();
        let (key, hash) = hasher.make_key(id, &[9; 32]);
        assert_eq!(super::hash(&hasher, &key), Some((id, hash)));
        assert_eq!(parse("hw_x_y"), None);
    }
}
