//! The certificates of a door, for clients or for other nodes: read again when their files change, so that a
//! renewed one needs no restart.
//!
//! Connections keep what they were opened with. Files that cannot be used, such as a certificate whose key has
//! not been written yet, change nothing: what was read last stays in use, and is said in the log.

use std::{convert::Infallible, fs, time::Duration};

use tokio::{sync::watch, time::sleep};
use tracing::{error, info};

use crate::{TlsError, TlsFiles};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The files of one door, and what it has made of them last.
pub struct Certificates<T> {
    door: &'static str,
    files: TlsFiles,
    make: fn(&TlsFiles) -> Result<T, TlsError>,
    /// Of all files, as they were looked at last.
    contents: Vec<Vec<u8>>,
    newest: watch::Sender<T>,
}

impl<T> Certificates<T> {
    /// Reads the files for the first time, to make settings of TLS from them.
    ///
    /// # Errors
    /// [`TlsError`] when one is missing or wrong.
    pub fn read(
        door: &'static str,
        files: TlsFiles,
        make: fn(&TlsFiles) -> Result<T, TlsError>,
    ) -> Result<Certificates<T>, TlsError> {
        let contents = contents(&files);
        let settings = make(&files)?;
        Ok(Certificates {
            door,
            files,
            make,
            contents,
            newest: watch::Sender::new(settings),
        })
    }

    /// What is in use for new connections.
    pub fn newest(&self) -> watch::Receiver<T> {
        self.newest.subscribe()
    }

    /// Looks at the files, for ever.
    pub async fn watch(&mut self) -> Result<(), Infallible> {
        loop {
            sleep(LOOK).await;
            let contents = contents(&self.files);
            if contents == self.contents {
                continue;
            }
            self.contents = contents;
            match (self.make)(&self.files) {
                Ok(settings) => {
                    self.newest.send_replace(settings);
                    info!(door = self.door, "the certificate was read again");
                }
                Err(error) => error!(door = self.door, %error, "the certificate in use stays"),
            }
        }
    }
}

/// What is in the files; nothing of one that cannot be read. They are small.
fn contents(files: &TlsFiles) -> Vec<Vec<u8>> {
    let all = [Some(&files.cert), Some(&files.key), files.ca.as_ref()];
    let paths = all.into_iter().flatten();
    paths
        .map(|path| fs::read(path).unwrap_or_default())
        .collect()
}
