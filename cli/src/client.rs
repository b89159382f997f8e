//! How commands reach a server: addresses, credential, TLS, and trying again elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use highwater_proto::client::highwater_client::HighwaterClient;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    context::{ContextArg, Sources},
    exit::Exit,
};

/// Where the service is, and who asks, as far as it was typed.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Where")]
pub struct ServerArgs {
    #[command(flatten)]
    pub context: ContextArg,
    /// Address of a node; several (repeated, or divided by commas) are tried in turn
    /// [env: HIGHWATER_SERVER] [default: the context's, or http://127.0.0.1:8080]
    #[arg(long = "server", value_name = "URL", value_delimiter = ',')]
    pub servers: Vec<String>,
    /// API key; better given by a file, the variable or a context, where other users of the machine do not see
    /// it [env: HIGHWATER_KEY]
    #[arg(long)]
    pub key: Option<String>,
    /// File with the API key
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub key_file: Option<PathBuf>,
    /// Authorities (PEM) of the server's certificate, when they are not the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

impl ServerArgs {
    /// With what was not typed out of the environment and the context.
    ///
    /// # Errors
    /// When the context cannot be used, or its key cannot be had.
    pub fn resolve(&self) -> anyhow::Result<Server> {
        Sources::read(&self.context)?.server(self)
    }
}

/// Where the service is, and who asks.
#[derive(Debug, Clone)]
pub struct Server {
    /// Addresses of nodes; at least one.
    pub servers: Vec<String>,
    /// The API key.
    pub key: Option<String>,
    /// A file with authorities.
    pub ca: Option<PathBuf>,
}

/// The gRPC client with its credential.
pub type Client = HighwaterClient<InterceptedService<Channel, Credential>>;

/// Adds the credential to each request.
#[derive(Debug, Clone)]
pub struct Credential(Option<MetadataValue<Ascii>>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl Server {
    /// The credential.
    pub fn credential(&self) -> anyhow::Result<Credential> {
        let value = self.key.as_ref().map(|key| format!("Bearer {key}").parse());
        let mut value: Option<MetadataValue<Ascii>> = value
            .transpose()
            .map_err(|_| Exit::usage("the key holds characters that no key has"))?;
        value.iter_mut().for_each(|v| v.set_sensitive(true));
        Ok(Credential(value))
    }

    /// The address of one of the servers, counted round.
    pub fn address(&self, index: usize) -> &str {
        &self.servers[index % self.servers.len()]
    }

    /// How to connect to one of the servers, counted round.
    pub fn endpoint(&self, index: usize) -> anyhow::Result<Endpoint> {
        let server = self.address(index);
        let endpoint = Endpoint::from_shared(server.to_owned())
            .map_err(|_| {
                Exit::usage(format!(
                    "`{server}` is not an address like http://host:8080"
                ))
            })?
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        if !server.starts_with("https://") {
            return Ok(endpoint);
        }
        let tls = match &self.ca {
            None => ClientTlsConfig::new().with_enabled_roots(),
            Some(path) => {
                let pem =
                    fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
        };
        Ok(endpoint.tls_config(tls)?)
    }

    /// A connection to one of the servers, counted round.
    pub async fn connect(&self, index: usize) -> anyhow::Result<Client> {
        let server = self.address(index);
        let channel = self.endpoint(index)?.connect().await;
        let channel = channel.with_context(|| format!("cannot reach {server}"))?;
        Ok(
            HighwaterClient::with_interceptor(channel, self.credential()?)
                .max_decoding_message_size(64 << 20),
        )
    }

    /// For plain HTTP.
    pub fn http(&self) -> anyhow::Result<reqwest::Client> {
        http(self.ca.as_deref())
    }
}

/// A client of HTTP that trusts these authorities besides the system's. It follows no redirections, so that a
/// credential goes nowhere else.
pub fn http(ca: Option<&Path>) -> anyhow::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none());
    if let Some(path) = ca {
        let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        builder = builder.add_root_certificate(reqwest::Certificate::from_pem(&pem)?);
    }
    Ok(builder.build()?)
}

/// Counts attempts: which server is next, and when to give up.
#[derive(Debug)]
pub struct Attempts {
    give_up: Option<Instant>,
    count: u32,
    /// The server to try.
    pub server: usize,
}

impl Attempts {
    /// Attempts for so long, or for ever.
    pub fn within(limit: Option<Duration>) -> Attempts {
        Attempts {
            give_up: limit.map(|limit| Instant::now() + limit),
            count: 0,
            server: 0,
        }
    }

    /// Waits before the next attempt, at the next server.
    ///
    /// # Errors
    /// The error itself when trying again is of no use, or there is no time left.
    pub async fn failed(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        let pause = Duration::from_millis(50 << self.count.min(5));
        let late = self.give_up.is_some_and(|at| Instant::now() + pause > at);
        if late || !is_retryable(&error) {
            return Err(error);
        }
        if self.count == 0 {
            eprintln!("trying again: {error:#}");
        }
        self.count += 1;
        self.server += 1;
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Whether the same request may succeed later or elsewhere.
fn is_retryable(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        if let Some(status) = cause.downcast_ref::<Status>() {
            // A connection that breaks under a stream is reported as one of the latter two.
            return matches!(
                status.code(),
                Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled
            );
        }
        if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
            return !error.is_builder();
        }
        let exit = cause.downcast_ref::<Exit>();
        cause.is::<tonic::transport::Error>() || exit.is_some_and(Exit::is_retryable)
    })
}

/// Runs a command that is mostly waiting.
pub fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_is_tried_again_whichever_way_it_was_asked() {
        for (error, expected) in [
            (anyhow::Error::from(Status::unavailable("draining")), true),
            (Status::unauthenticated("no such key").into(), false),
            (Exit::http(503, None, "a proxy".into()).into(), true),
            (Exit::http(429, Some(false), "quota".into()).into(), false),
            (
                Exit::http(404, Some(false), "no topic".into()).into(),
                false,
            ),
            (Exit::unavailable("draining").into(), true),
            (Exit::usage("not an address").into(), false),
        ] {
            assert_eq!(is_retryable(&error), expected, "{error:#}");
        }
    }
}
