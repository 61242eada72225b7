//! What a disk holds after a power cut: made from a recording, a moment in it and a seed.
//!
//! Whatever was written before the last flush is there. Of what was written after it a disk may have taken anything: each write is whole,
//! lost, or torn behind one of its sectors.

use crate::lab::{LabError, Recording, Request, run};
use fastrand::Rng;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Of eight writes that a disk took, so many tore.
const TORN_OF_EIGHT: u8 = 1;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Whole,
    /// So many bytes of it.
    Torn(usize),
    Lost,
}

/// Makes the disk that a power cut leaves when so many requests of the recording had come, and says in a sentence what was lost.
pub fn make(recording: &Recording, position: usize, seed: u64, out: &Path) -> Result<String, LabError> {
    // a new file: the one of before may still be a mounted disk
    run(&["cp", "--sparse=always", "--remove-destination", &recording.base().to_string_lossy(), &out.to_string_lossy()])?;
    let file = OpenOptions::new().write(true).open(out).map_err(LabError::io("open", out))?;
    let fates = fates(recording.requests(), position, seed);
    let flushed = flushed(recording.requests(), position);
    let (mut torn, mut lost) = (0, 0);
    for (number, (request, fate)) in recording.requests().iter().zip(&fates).enumerate() {
        let Request::Write { offset, length, at } = *request else { continue };
        let kept = match *fate {
            Fate::Whole => length,
            Fate::Torn(bytes) => bytes,
            Fate::Lost => 0,
        };
        if number >= flushed {
            torn += usize::from(matches!(fate, Fate::Torn(_)));
            lost += usize::from(*fate == Fate::Lost);
        }
        file.write_all_at(&recording.bytes(at, kept)?, offset).map_err(LabError::io("write", out))?;
    }
    Ok(format!("{lost} lost and {torn} torn of {} writes since the last flush", position - flushed))
}

/// How many requests are behind the last flush before a position, that flush with them.
fn flushed(requests: &[Request], position: usize) -> usize {
    requests.iter().take(position).rposition(|request| *request == Request::Flush).map_or(0, |flush| flush + 1)
}

/// The fates of the first `position` requests.
fn fates(requests: &[Request], position: usize, seed: u64) -> Vec<Fate> {
    let flushed = flushed(requests, position);
    let mut chance = Rng::with_seed(seed);
    // some disks take nearly all of it, some hardly anything
    let taken = chance.f64();
    let fate = |(number, request): (usize, &Request)| match *request {
        Request::Write { length, .. } if number >= flushed => {
            if chance.f64() >= taken {
                Fate::Lost
            } else if length > SECTOR && chance.u8(..8) < TORN_OF_EIGHT {
                Fate::Torn(chance.usize(1..length / SECTOR) * SECTOR)
            } else {
                Fate::Whole
            }
        }
        Request::Write { .. } | Request::Flush => Fate::Whole,
    };
    requests.iter().take(position).enumerate().map(fate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;

    const BLOCK: usize = 4096;

    fn write(block: usize) -> Request {
        Request::Write { offset: (block * BLOCK) as u64, length: BLOCK, at: (block * BLOCK) as u64 }
    }

    #[test]
    fn what_was_flushed_is_there_and_of_the_rest_anything() {
        let requests = [write(0), Request::Flush, write(1), write(2), Request::Flush, write(3)];
        let mut seen = BTreeSet::new();
        for seed in 0..1000 {
            let fates = fates(&requests, 4, seed);
            assert_eq!(fates.len(), 4, "what comes after the cut never came");
            assert_eq!(fates[0], Fate::Whole);
            seen.insert(format!("{:?}", (fates[2], fates[3]).clone()));
            let torn = |fate: &Fate| matches!(fate, Fate::Torn(bytes) if bytes % SECTOR != 0 || *bytes == 0 || *bytes >= BLOCK);
            assert!(!fates.iter().any(torn), "{fates:?}");
        }
        for pair in ["(Whole, Lost)", "(Lost, Whole)", "(Whole, Whole)", "(Lost, Lost)", "(Torn(512), Whole)", "(Lost, Torn(3584))"] {
            assert!(seen.contains(pair), "{pair} of {seen:?}");
        }
        assert!(fates(&requests, 5, 1).iter().all(|fate| *fate == Fate::Whole), "a flush that was done keeps all");
    }

    #[test]
    fn the_same_seed_makes_the_same_disk() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        fs::write(&disk, vec![b'.'; 4 * BLOCK]).unwrap();
        let mut recording = Recording::begin(&folder.path().join("recording"), &disk).unwrap();
        recording.write(0, &[b'0'; BLOCK]).unwrap();
        recording.flush();
        for block in 1..4 {
            recording.write((block * BLOCK) as u64, &[b'0' + u8::try_from(block).unwrap(); BLOCK]).unwrap();
        }
        let image = |seed| {
            let out = folder.path().join("image");
            let said = make(&recording, 4, seed, &out).unwrap();
            (said, fs::read(out).unwrap())
        };
        for seed in 0..50 {
            let (said, bytes) = image(seed);
            assert_eq!((&said, &bytes), (&image(seed).0, &image(seed).1));
            assert!(said.ends_with("of 2 writes since the last flush"), "{said}");
            assert!(bytes[..BLOCK].iter().all(|byte| *byte == b'0'), "what was flushed is there");
            assert!(bytes[3 * BLOCK..].iter().all(|byte| *byte == b'.'), "what came after the cut is not");
        }
    }
}
