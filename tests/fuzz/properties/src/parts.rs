//! Blobs as a controller sends them to a host: in parts, whole or as patches.

use roadstead_model::Digest;
use std::fs;
use std::path::Path;

use crate::agent::receive::{Encoding, Part, Receiver, Size, Want};
use crate::agent::shelf::Shelf;
use crate::scratch::scratch;

/// What is asked for: by itself, beside a base, and with a size that is only bounded.
const WANTED: [&[u8]; 3] = [b"roadstead roadstead roadstead", b"a ship lies in a roadstead, and waits", b"[]"];
const BASE: &[u8] = b"a ship lies in a harbour, and waits";

/// Whatever comes in whatever order, only what was asked for lies aside, and all of it once everything came.
///
/// An input is parts: two bytes of which blob it is of, how it is encoded and whether it is the last one, one of its length, and it.
pub fn parts(bytes: &[u8]) {
    let scratch = scratch();
    let shelf = Shelf::open(scratch.path()).unwrap();
    let base = Digest::of(BASE);
    fs::create_dir_all(shelf.path(&base).parent().unwrap()).unwrap();
    fs::write(shelf.path(&base), BASE).unwrap();
    let sizes = [Size::Exactly(WANTED[0].len() as u64), Size::Exactly(WANTED[1].len() as u64), Size::AtMost(100)];
    let bases = [None, Some(base), None];
    let wants: Vec<Want> =
        WANTED.iter().zip(sizes).zip(bases).map(|((wanted, size), base)| Want { digest: Digest::of(wanted), size, base }).collect();
    let mut receiver = Receiver::new(shelf.clone(), wants.clone());
    let mut came = Vec::new();
    let mut rest = bytes;
    while let [index, how, length, after @ ..] = rest {
        let (data, behind) = after.split_at(usize::from(*length).min(after.len()));
        let encoding = if how & 1 == 0 { Encoding::Plain } else { Encoding::Patch };
        let part = Part { index: usize::from(*index), encoding, data: data.to_vec(), last: how & 2 != 0 };
        match receiver.take(&part) {
            Ok(Some((digest, size))) => {
                assert_eq!(size, fs::metadata(shelf.aside(&digest)).unwrap().len());
                came.push(digest);
            }
            Ok(None) => {}
            Err(_) => break,
        }
        rest = behind;
    }
    let digests: Vec<Digest> = wants.iter().map(|want| want.digest).collect();
    assert!(digests.starts_with(&came), "blobs come out of their order");
    assert_eq!(receiver.is_complete(), came.len() == wants.len());
    for (want, content) in wants.iter().zip(WANTED) {
        let aside = fs::read(shelf.aside(&want.digest)).ok();
        assert_eq!(aside.as_deref(), came.contains(&want.digest).then_some(content));
        assert!(!Path::exists(&shelf.unchecked(&want.digest)), "what was not checked is left");
    }
    shelf.keep(&came).unwrap();
    assert!(came.iter().all(|digest| shelf.has(digest)));
}
