//! The operating system's files in one folder, preallocated and synced with `fdatasync`.

use std::{
    fs, io,
    os::{fd::AsFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Advice, FallocateFlags, FlockOperation};

use super::{Disk, File};

/// A folder of the file system that belongs to this process alone.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
    /// Held open for `fsync` of the folder, and locked against a second process.
    handle: fs::File,
}

impl RealDisk {
    /// Opens the folder and makes it if it is not there.
    ///
    /// # Errors
    /// `WouldBlock` if another process has it open; otherwise what the file system says.
    pub fn new(dir: PathBuf) -> io::Result<RealDisk> {
        fs::create_dir_all(&dir)?;
        let handle = fs::File::open(&dir)?;
        rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive)?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(RealDisk { dir, handle })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // A name that is not UTF-8 is not one of ours.
            if let (true, Ok(name)) = (
                entry.file_type()?.is_file(),
                entry.file_name().into_string(),
            ) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn File>> {
        let path = self.dir.join(name);
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        match preallocate(&file, bytes) {
            Ok(()) => Ok(Box::new(RealFile(file))),
            Err(error) => {
                // Room that was half taken must not stay behind on a full disk.
                fs::remove_file(&path)?;
                Err(error)
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.dir.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

fn preallocate(file: &fs::File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file.as_fd(), FallocateFlags::empty(), 0, bytes) {
        // Not every file system has it (some network and overlay ones). A sparse file is slower
        // and may meet a full disk later, but it is correct.
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(bytes),
        other => other.map_err(io::Error::from),
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(
            self.0.as_fd(),
            0,
            None,
            Advice::DontNeed,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_preallocated_renamed_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(dir.path().join("log")).unwrap();
        let file = disk.create("a", 8_192).unwrap();
        assert_eq!(file.bytes().unwrap(), 8_192);
        file.write_at(b"hello", 4_096).unwrap();
        file.sync_data().unwrap();
        disk.rename("a", "b").unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(disk.list().unwrap(), ["b"]);

        let mut read = [0; 5];
        let file = disk.open("b").unwrap();
        file.forget_cached().unwrap();
        file.read_at(&mut read, 4_096).unwrap();
        assert_eq!(&read, b"hello");
        assert_eq!(
            file.read_at(&mut read, 8_190).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert_eq!(
            disk.create("b", 0).err().unwrap().kind(),
            io::ErrorKind::AlreadyExists
        );
    }

    #[test]
    fn a_folder_is_not_opened_twice() {
        let dir = tempfile::tempdir().unwrap();
        let first = RealDisk::new(dir.path().to_path_buf()).unwrap();
        assert_eq!(
            RealDisk::new(dir.path().to_path_buf()).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(first);
        RealDisk::new(dir.path().to_path_buf()).unwrap();
    }
}
