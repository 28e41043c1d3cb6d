//! A data folder that is full, read-only or another's: words for the operator, and nothing lost.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{NOBODY, Started, is_root_or_skipped};

/// A small file system in memory, in a mount namespace of this thread's own: nobody else sees it, and it is gone with
/// the thread, however that ends.
pub(crate) struct SmallDisk {
    pub(crate) folder: TempDir,
}

impl SmallDisk {
    /// None, with a printed line, where the system does not allow it.
    pub(crate) fn new(test: &str, bytes: usize) -> Option<SmallDisk> {
        if !is_root_or_skipped(test) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        match mount_small_disk(folder.path(), bytes) {
            Ok(()) => Some(SmallDisk { folder }),
            Err(error) => {
                crate::common::skip::skip(test, &format!("nothing can be mounted: {error}"));
                None
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Fills what is left of it.
    fn fill(&self) {
        let mut file = fs::File::create(self.folder.path().join("filler")).expect("a file");
        let error = loop {
            if let Err(error) = io::Write::write_all(&mut file, &[0; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    }

    fn make_room(&self) {
        fs::remove_file(self.folder.path().join("filler")).expect("the filler is there");
    }

    fn make_read_only(&self) {
        mount(None, self.folder.path(), libc::MS_REMOUNT | libc::MS_RDONLY, "").expect("it is our own mount");
    }
}

/// Room for an ext4 with a journal of its own, the database and some segments.
const FAILING_BYTES: u64 = 300 * 1024 * 1024;

/// An ext4 in a file, which can be made to fail: its kernel then takes no write until it is mounted anew.
pub(crate) struct FailingDisk {
    /// Where the image is, beside the disk.
    outside: TempDir,
    pub(crate) disk: SmallDisk,
}

impl FailingDisk {
    /// None, with a printed line, where the system does not allow it.
    pub(crate) fn new(test: &str) -> Option<FailingDisk> {
        if !is_root_or_skipped(test) {
            return None;
        }
        let (outside, folder) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let image = outside.path().join("image");
        fs::File::create(&image).and_then(|file| file.set_len(FAILING_BYTES)).expect("a sparse file");
        let made = own_mounts().and_then(|()| run("mkfs.ext4", &["-q".as_ref(), image.as_os_str()]));
        if let Err(error) = made.and_then(|()| mount_image(&image, folder.path())) {
            crate::common::skip::skip(test, &format!("no ext4 can be made and mounted: {error}"));
            return None;
        }
        Some(FailingDisk { outside, disk: SmallDisk { folder } })
    }

    /// Has the kernel find an error in it, after which nothing is written.
    pub(crate) fn fail(&self) -> io::Result<()> {
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
        let folder = self.disk.folder.path().to_str().expect("text");
        let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(folder)).expect("it is mounted");
        let device = line.split(' ').rev().nth(1).and_then(|device| device.strip_prefix("/dev/"));
        let device = device.expect("a loop device");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1")
    }

    /// Mounts it anew, checked; no process may have a file of it open.
    pub(crate) fn mount_again(&self) {
        let path = self.disk.folder.path();
        run("umount", &[path.as_os_str()]).expect("nobody has a file open");
        let image = self.outside.path().join("image");
        // It says by its status that it has mended something.
        let _ = run("e2fsck", &["-p".as_ref(), image.as_os_str()]);
        mount_image(&image, path).expect("it is whole");
    }
}

fn mount_image(image: &Path, folder: &Path) -> io::Result<()> {
    run("mount", &["-o".as_ref(), "loop,errors=remount-ro".as_ref(), image.as_os_str(), folder.as_os_str()])
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) -> io::Result<()> {
    let ended = std::process::Command::new(program).args(arguments).output()?;
    let said = || String::from_utf8_lossy(&ended.stderr).into_owned();
    if ended.status.success() { Ok(()) } else { Err(io::Error::other(said())) }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let path = CString::new(self.folder.path().as_os_str().as_bytes()).expect("no NUL");
        // SAFETY: the path is a string that ends with NUL and outlives the call.
        let unmounted = unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        assert_eq!(unmounted, 0, "{}", io::Error::last_os_error());
    }
}

fn mount_small_disk(folder: &Path, bytes: usize) -> io::Result<()> {
    own_mounts()?;
    mount(Some("tmpfs"), folder, 0, &format!("size={bytes}"))
}

/// Gives this thread, and the processes that it starts, mounts of their own.
fn own_mounts() -> io::Result<()> {
    // SAFETY: the call changes which mounts this thread sees, and no memory.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // Else the mounts of this namespace would show in the one that it came from.
    mount(None, Path::new("/"), libc::MS_REC | libc::MS_PRIVATE, "")
}

fn mount(kind: Option<&str>, on: &Path, flags: libc::c_ulong, options: &str) -> io::Result<()> {
    let text = |text: &[u8]| CString::new(text).expect("no NUL");
    let (kind, on, options) =
        (text(kind.unwrap_or("none").as_bytes()), text(on.as_os_str().as_bytes()), text(options.as_bytes()));
    // SAFETY: all of them are strings that end with NUL and outlive the call.
    let mounted = unsafe {
        libc::mount(kind.as_ptr(), on.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast::<libc::c_void>())
    };
    if mounted == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for the database and some changes.
const DISK_BYTES: usize = 8 * 1024 * 1024;

fn names(applications: &Value) -> Vec<String> {
    let items = applications["items"].as_array().expect("items");
    items.iter().map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_full_disk_stops_the_first_start_and_one_with_room_goes_on() {
    let Some(disk) = SmallDisk::new("a full disk", DISK_BYTES) else { return };
    disk.fill();
    Started::new(&disk.data(), |_| {}).refused().says(&["no space left", "data"]);
    disk.make_room();
    Started::new(&disk.data(), |_| {}).serves().stop();
}

#[test]
fn a_disk_that_fills_up_refuses_changes_in_words_and_what_was_answered_stays() {
    let Some(disk) = SmallDisk::new("a disk that fills up", DISK_BYTES) else { return };
    let serving = Started::new(&disk.data(), |_| {}).serves();
    let application = |name: &str| {
        let description = "x".repeat(30_000);
        serving.call("POST", "/applications", &json!({"name": name, "description": description}))
    };
    assert_eq!(application("Before").status, 201);
    disk.fill();
    // The database has some room inside its file; then the disk's end is felt.
    let mut kept = vec!["Before".to_owned()];
    let refusal = (0..1_000).find_map(|number| {
        let name = format!("Number {number}");
        let response = application(&name);
        if response.status == 201 {
            kept.push(name);
            return None;
        }
        Some(response)
    });
    let refusal = refusal.expect("the disk is full");
    let said: Value = serde_json::from_slice(&refusal.body).expect("JSON");
    assert_eq!((refusal.status, &said["type"]), (500, &json!("Internal")), "{refusal:?}");
    assert!(said["message"].as_str().is_some_and(|text| text.contains("no space left")), "{said}");
    // Reading goes on, callers are served, and what was refused is not there.
    let list = |serving: &crate::process::Serving| {
        let list = serving.call("GET", "/applications?perPage=1000", &Value::Null);
        assert_eq!(list.status, 200);
        let mut names = names(&serde_json::from_slice(&list.body).expect("JSON"));
        names.retain(|name| kept.contains(name) || name.starts_with("Number") || name == "After");
        names
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(list(&serving)), sorted(kept.clone()));
    disk.make_room();
    assert_eq!(application("After").status, 201, "there is room again");
    serving.stop();
    let again = Started::new(&disk.data(), |_| {}).serves();
    let mut expected = kept.clone();
    expected.push("After".to_owned());
    assert_eq!(sorted(list(&again)), sorted(expected));
    println!("a disk that fills up: kept {}, refused 1, lost 0", kept.len() + 1);
}

#[test]
fn a_disk_that_is_full_at_a_later_start_is_told_or_served_and_nothing_is_lost() {
    let Some(disk) = SmallDisk::new("a full disk at a later start", DISK_BYTES) else { return };
    let serving = Started::new(&disk.data(), |_| {}).serves();
    assert_eq!(serving.call("POST", "/applications", &json!({"name": "Before"})).status, 201);
    serving.stop();
    disk.fill();
    Started::new(&disk.data(), |_| {}).refused().says(&["data/", "o space left"]);
    disk.make_room();
    let again = Started::new(&disk.data(), |_| {}).serves();
    let list = again.call("GET", "/applications", &Value::Null);
    assert!(names(&serde_json::from_slice(&list.body).expect("JSON")).contains(&"Before".to_owned()));
}

#[test]
fn a_read_only_disk_stops_the_start_in_words() {
    let Some(disk) = SmallDisk::new("a read-only disk", DISK_BYTES) else { return };
    Started::new(&disk.data(), |_| {}).serves().stop();
    disk.make_read_only();
    Started::new(&disk.data(), |_| {}).refused().says(&["data", "cannot be used", "Read-only"]);
    // Nor can a folder be made there.
    let other = disk.folder.path().join("other");
    Started::new(&other, |_| {}).refused().says(&["other", "cannot be used", "Read-only"]);
}

/// A parent that everyone may pass through, and in it `data` of a server that ran as root.
fn folder_of_root() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our own");
    let data = folder.path().join("data");
    Started::new(&data, |_| {}).serves().stop();
    (folder, data)
}

#[test]
fn a_folder_of_another_user_stops_the_start_in_words() {
    if !is_root_or_skipped("a folder of another user") {
        return;
    }
    let (folder, data) = folder_of_root();
    let as_nobody = |path: &Path| {
        Started::new(path, |command| {
            command.uid(NOBODY).gid(NOBODY);
        })
    };
    let words = ["cannot be used", "must belong to the user that runs tidegate", "TIDEGATE_DATA"];
    as_nobody(&data).refused().says(&words);
    // A folder where nobody may make one.
    as_nobody(&folder.path().join("new")).refused().says(&words);
    // The folder given away, but not the database in it: it is not taken for an empty folder.
    for name in ["", "lock"] {
        chown(data.join(name), Some(NOBODY), Some(NOBODY)).expect("root gives it away");
    }
    as_nobody(&data).refused().says(&["model.redb", "cannot be used"]);
    // Nothing was changed by any of it.
    Started::new(&data, |_| {}).serves().stop();
}

#[test]
fn a_folder_that_its_user_may_not_write_to_stops_the_start_in_words() {
    if !is_root_or_skipped("a folder without the right to write") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our own");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a folder");
    chown(&data, Some(NOBODY), Some(NOBODY)).expect("root gives it away");
    fs::set_permissions(&data, Permissions::from_mode(0o500)).expect("our own");
    let started = Started::new(&data, |command| {
        command.uid(NOBODY).gid(NOBODY);
    });
    started.refused().says(&["lock", "cannot be used", "must belong to the user that runs tidegate"]);
}

#[test]
fn what_is_no_folder_stops_the_start_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("data");
    fs::write(&file, "kept").expect("a file");
    Started::new(&file, |_| {}).refused().says(&["is not a folder", "--data"]);
    Started::new(&file.join("inner"), |_| {}).refused().says(&["is not a folder", "--data"]);
    assert_eq!(fs::read(&file).expect("it is there"), b"kept");
}
