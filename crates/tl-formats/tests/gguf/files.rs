//! Files as objects of the system: kinds, permissions, length, parts.

use std::fs;

use tl_formats::gguf::{File, Metadata, OpenOptions, Writer};
use tl_formats::{Error, ErrorKind};
use tl_tensor::{Buffer, Tensor};

use crate::image::*;

/// What both ways of opening answer; they must agree.
fn open_error(path: &std::path::Path) -> Error {
    let [mapped, read] =
        [true, false].map(|map| File::open_with(path, OpenOptions { map }).expect_err("the file is refused"));
    assert_eq!(mapped.kind(), read.kind());
    assert!(mapped.path().is_some(), "{mapped} names the file");
    mapped
}

#[test]
fn a_missing_file() {
    let folder = Folder::new();
    assert_eq!(
        open_error(&folder.path().join("none.gguf")).kind(),
        ErrorKind::Io(std::io::ErrorKind::NotFound)
    );
}

#[test]
fn a_directory() {
    let folder = Folder::new();
    assert!(open_error(folder.path()).to_string().contains("directory"));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let folder = Folder::new();
    let path = folder.path().join("pipe.gguf");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo makes a pipe");
    assert!(open_error(&path).to_string().contains("not a regular file"));
}

#[cfg(unix)]
#[test]
fn a_device_without_end() {
    assert!(open_error(std::path::Path::new("/dev/zero")).to_string().contains("not a regular file"));
}

#[cfg(unix)]
#[test]
fn an_unreadable_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.write("secret.gguf", &Image::small().bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("permissions of an own file");
    // The superuser reads it all the same.
    if fs::File::open(&path).is_err() {
        assert_eq!(open_error(&path).kind(), ErrorKind::Io(std::io::ErrorKind::PermissionDenied));
    }
}

#[cfg(unix)]
#[test]
fn a_loop_of_links() {
    let folder = Folder::new();
    let (a, b) = (folder.path().join("a.gguf"), folder.path().join("b.gguf"));
    std::os::unix::fs::symlink(&a, &b).expect("a link");
    std::os::unix::fs::symlink(&b, &a).expect("a link");
    assert!(matches!(open_error(&a).kind(), ErrorKind::Io(_)));
}

#[test]
fn a_sparse_file_of_a_tebibyte() {
    let folder = Folder::new();
    let zeros = folder.write("zeros.gguf", b"");
    let model = folder.write("model.gguf", &Image::small().bytes());
    for path in [&zeros, &model] {
        let file = fs::OpenOptions::new().write(true).open(path).expect("an own file");
        // Some file systems have no files as large; the case is about those that have.
        if file.set_len(1 << 40).is_err() {
            file.set_len(1 << 30).expect("a sparse file");
        }
    }
    assert!(open_error(&zeros).to_string().contains("not a GGUF file"));
    for map in [true, false] {
        let file = File::open_with(&model, OpenOptions { map }).expect("a model with a long tail");
        assert!(file.warnings()[0].message.contains("trailing bytes"));
        assert_eq!(file.tensor("a").expect("its tensor").to_f32(), [0.0, 1.0, 2.0, 3.0]);
    }
}

#[test]
fn case_71_shortened_after_opening() {
    let folder = Folder::new();
    let path = folder.write("model.gguf", &Image::small().bytes());
    let mapped = File::open(&path).expect("a model");
    let read = File::open_with(&path, OpenOptions { map: false }).expect("a model");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("an own file");
    file.set_len(100).expect("a shorter file");
    let error = mapped.tensor("a").expect_err("the bytes are gone");
    assert_eq!(error.kind(), ErrorKind::Malformed);
    assert!(error.to_string().contains("shortened to 100 bytes"), "{error}");
    assert!(mapped.check().all(|check| check.is_err()));
    assert_eq!(read.tensor("a").expect("bytes that were read").to_f32(), [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn metadata_larger_than_what_is_read_at_first() {
    let mut image = Image::small();
    image.entries.push(entry("big", ARRAY, &array(U8, 20 << 20, &vec![7; 20 << 20])));
    image.entries.push(strings("many", &["word"; 1000]));
    image.entries.push(entry("bigger", ARRAY, &array(U64, 2 << 20, &vec![7; 16 << 20])));
    let folder = Folder::new();
    let path = folder.write("model.gguf", &image.bytes());
    let [mapped, read] =
        [true, false].map(|map| File::open_with(&path, OpenOptions { map }).expect("a large file"));
    assert_eq!(mapped.metadata(), read.metadata());
    assert_eq!(mapped.tensors(), read.tensors());
    assert_eq!(read.metadata().get::<&[u8]>("general.architecture"), Ok(&b"test"[..]));
    assert_eq!(read.tensor("a").expect("its tensor").to_f32(), [0.0, 1.0, 2.0, 3.0]);
}

/// Part `number` (from 0) of a model of `count` parts, with a tensor of its own.
fn part(number: u16, count: u16, tensors: i32) -> Vec<u8> {
    let mut metadata = Metadata::new();
    if number == 0 {
        metadata.set("general.architecture", "test");
    }
    metadata.set("split.no", number).set("split.count", count).set("split.tensors.count", tensors);
    let mut writer = Writer::new(metadata);
    writer.tensor(&format!("t{number}"), &Tensor::from_f32(&[2], &[number.into(), 1.0])).expect("a tensor");
    writer.write_to(Vec::new()).expect("a part")
}

fn part_name(number: u16, count: u16) -> String {
    format!("model-{:05}-of-{count:05}.gguf", number + 1)
}

fn write_parts(folder: &Folder, parts: &[Vec<u8>]) -> Vec<std::path::PathBuf> {
    let count = parts.len() as u16;
    (0..count).zip(parts).map(|(i, bytes)| folder.write(&part_name(i, count), bytes)).collect()
}

#[test]
fn a_split_model_opens_by_any_part() {
    let folder = Folder::new();
    let paths = write_parts(&folder, &[part(0, 3, 3), part(1, 3, 3), part(2, 3, 3)]);
    for path in &paths {
        for map in [true, false] {
            let file = File::open_with(path, OpenOptions { map }).expect("a split model");
            assert_eq!((file.part_count(), file.tensors().len()), (3, 3));
            assert_eq!(file.metadata().architecture(), Some("test"));
            assert_eq!(file.path(), Some(&*paths[0]));
            for i in 0..3u16 {
                assert_eq!(file.tensor(&format!("t{i}")).expect("a tensor").to_f32(), [f32::from(i), 1.0]);
            }
        }
    }
}

#[test]
fn a_part_is_missing() {
    let folder = Folder::new();
    let paths = write_parts(&folder, &[part(0, 3, 3), part(1, 3, 3), part(2, 3, 3)]);
    fs::remove_file(&paths[1]).expect("an own file");
    let error = open_error(&paths[0]).to_string();
    assert!(error.contains("model-00002-of-00003.gguf") && error.contains("part 2 of 3"), "{error}");
}

#[test]
fn parts_in_the_wrong_place() {
    let folder = Folder::new();
    let swapped = write_parts(&folder, &[part(0, 3, 3), part(2, 3, 3), part(1, 3, 3)]);
    assert!(open_error(&swapped[0]).to_string().contains("this is part 3, but part 2 belongs here"));
    let renamed = folder.write("model.gguf", &part(0, 3, 3));
    assert!(open_error(&renamed).to_string().contains("its name must end in \"-00001-of-00003.gguf\""));
    let beyond = folder.write("x-00004-of-00003.gguf", &part(3, 3, 3));
    assert!(open_error(&beyond).to_string().contains("part 3 (from 0) of 3 parts"));
}

#[test]
fn parts_that_dont_belong_together() {
    let files = |parts: &[Vec<u8>]| File::from_parts(parts.iter().cloned().map(Buffer::from_vec).collect());
    let error = |parts: &[Vec<u8>]| files(parts).expect_err("the parts are refused").to_string();
    assert!(files(&[part(0, 2, 2), part(1, 2, 2)]).is_ok());
    assert!(error(&[part(0, 2, 3), part(1, 2, 3)]).contains("has 3 tensors, but its parts have 2"));
    assert!(error(&[part(0, 2, 2), part(1, 3, 2)]).contains("has 3 parts, but 2 were given"));
    assert!(error(&[part(0, 2, 2)]).contains("has 2 parts, but 1 were given"));
    assert!(
        error(&[Image::small().bytes(), Image::small().bytes()]).contains("has 1 parts, but 2 were given")
    );
    assert!(error(&[]).contains("without parts"));
    let mut twice = part(1, 2, 2);
    let at = twice.windows(2).position(|w| w == b"t1").expect("the tensor's name");
    twice[at + 1] = b'0';
    assert!(error(&[part(0, 2, 2), twice]).contains("\"t0\": the name appears in two parts"));
}

#[test]
fn a_merged_model_may_keep_a_count_of_0() {
    assert!(File::from_buffer(Buffer::from_vec(part(0, 0, 7))).is_ok());
}
