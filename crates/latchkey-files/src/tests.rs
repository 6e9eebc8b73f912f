use std::{fs, io::Cursor, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use super::*;

fn file(folder: &tempfile::TempDir, bytes: &[u8], mode: u32) -> PathBuf {
    let path = folder.path().join("file");
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn file_over_the_limit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, b"12345", 0o600);
    assert_eq!(&**read(&path, 5).unwrap(), b"12345");
    assert!(matches!(read(&path, 4), Err(FileError::TooLong(4))));
}

#[test]
fn special_file_is_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
        assert!(
            matches!(read(path, 10), Err(FileError::NotRegular)),
            "{}",
            path.display()
        );
    }
}

#[test]
fn endless_stream_is_read_up_to_the_limit() {
    assert!(matches!(
        read_stream(io::repeat(b'x'), 100),
        Err(FileError::TooLong(100))
    ));
    assert!(matches!(
        read_line(io::BufReader::new(io::repeat(b'x')), 100),
        Err(FileError::TooLong(100))
    ));
    assert_eq!(&**read_line(Cursor::new("one\r\ntwo\n"), 3).unwrap(), "one");
    assert!(matches!(
        read_line(Cursor::new(b"\xff\n"), 3),
        Err(FileError::NotText)
    ));
}

#[test]
fn file_that_others_can_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o666, 0o620, 0o602] {
        let path = file(&folder, b"x", mode);
        assert!(
            matches!(read_protected(&path, 1), Err(FileError::WritableByOthers(found)) if found == mode)
        );
        assert!(matches!(
            read_own(&path, 1),
            Err(FileError::WritableByOthers(_))
        ));
    }
    for mode in [0o600, 0o644, 0o444] {
        assert!(read_own(&file(&folder, b"x", mode), 1).is_ok(), "{mode:o}");
    }
}

#[test]
fn writers_depend_on_the_group_and_the_sticky_bit() {
    let who = Identity {
        user: 65532,
        groups: vec![65532, 2000],
    };
    let writers = |mode, group, directory| {
        Access {
            mode,
            owner: 65532,
            group,
            directory,
        }
        .writers(&who)
    };
    assert_eq!(writers(0o600, 65532, false), Writers::Owner);
    assert_eq!(writers(0o666, 65532, false), Writers::World);
    assert_eq!(writers(0o660, 2000, false), Writers::OwnGroup);
    assert_eq!(writers(0o660, 100, false), Writers::ForeignGroup);
    // `fsGroup` of Kubernetes, and /tmp.
    assert_eq!(writers(0o2770, 2000, true), Writers::OwnGroup);
    assert_eq!(writers(0o1777, 0, true), Writers::Owner);
    assert_eq!(
        writers(0o1666, 0, false),
        Writers::World,
        "the bit has no effect on a file"
    );
}

#[test]
fn text_with_a_byte_order_mark_is_read_without_it() {
    for bytes in [
        &b"a\xc3\xa9"[..],
        b"\xef\xbb\xbfa\xc3\xa9",
        b"\xff\xfea\0\xe9\0",
        b"\xfe\xff\0a\0\xe9",
    ] {
        assert_eq!(
            &**text(bytes).unwrap(),
            "a\u{e9}",
            "{}",
            bytes.escape_ascii()
        );
    }
    // Half a unit, half a pair of surrogates, and no mark.
    for bytes in [&b"\xff\xfea"[..], b"\xff\xfe\0\xd8", b"\xff"] {
        assert!(
            matches!(text(bytes), Err(FileError::NotText)),
            "{}",
            bytes.escape_ascii()
        );
        assert_eq!(*without_mark(Zeroizing::new(bytes.to_vec())), bytes);
    }
}
