use super::*;
use std::collections::BTreeSet;

const FOLDER: &str = "/state/app";

fn file() -> PathBuf {
    Path::new(FOLDER).join("file")
}

/// A disk with a folder in which nothing is.
fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_folder(Path::new(FOLDER)).unwrap();
    disk
}

fn missing<T>(result: Result<T, FileError>) -> bool {
    result.err().is_some_and(|error| error.is_missing())
}

#[test]
fn it_behaves_as_a_disk_while_it_has_power() {
    let disk = disk(1);
    assert!(missing(disk.read(&file(), 9)) && missing(disk.open(&file())) && missing(disk.remove(&file())));
    assert!(missing(disk.create(Path::new("/nowhere/file"), 0)) && missing(disk.sync_folder(Path::new("/nowhere"))));
    assert_eq!(disk.names(Path::new("/nowhere")).unwrap(), Vec::<String>::new());
    let mut open = disk.create(&file(), 10).unwrap();
    assert!(disk.create(&file(), 10).is_err(), "it is there");
    open.append(b"one ").unwrap();
    disk.open(&file()).unwrap().append(b"two").unwrap();
    assert_eq!(disk.read(&file(), 7).unwrap(), b"one two");
    assert!(disk.read(&file(), 6).unwrap_err().to_string().contains("read /state/app/file"));
    open.cut(3).unwrap();
    assert_eq!(disk.bytes(&file()).unwrap(), b"one");
    disk.write_atomically(&file(), b"new").unwrap();
    disk.write_atomically(&Path::new(FOLDER).join("another"), b"").unwrap();
    disk.create_folder(&Path::new(FOLDER).join("below/it")).unwrap();
    assert_eq!(disk.names(Path::new(FOLDER)).unwrap(), ["another", "below", "file"]);
    assert_eq!(disk.names(Path::new("/")).unwrap(), ["state"]);
    disk.remove(&file()).unwrap();
    assert_eq!(disk.bytes(&file()), None);
}

#[test]
fn what_was_synced_survives_every_crash() {
    for seed in 0..200 {
        let disk = disk(seed);
        disk.create(&file(), 0).unwrap().append(b"durable").unwrap();
        disk.sync_folder(Path::new(FOLDER)).unwrap();
        let state = Path::new("/state/other/state.json");
        disk.create_folder(state.parent().unwrap()).unwrap();
        disk.write_atomically(state, b"one").unwrap();
        disk.write_atomically(state, b"two").unwrap();
        disk.crash();
        assert_eq!((disk.read(&file(), 99).unwrap(), disk.read(state, 99).unwrap()), (b"durable".to_vec(), b"two".to_vec()));
    }
}

#[test]
fn a_name_that_was_not_synced_is_lost_or_kept() {
    let outcomes = |change: fn(&SimDisk)| -> BTreeSet<Option<Vec<u8>>> {
        let outcome = |seed| {
            let disk = disk(seed);
            disk.create(&file(), 0).unwrap().append(b"old").unwrap();
            disk.sync_folder(Path::new(FOLDER)).unwrap();
            change(&disk);
            disk.crash();
            disk.bytes(&file())
        };
        (0..200).map(outcome).collect()
    };
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    assert_eq!(outcomes(|disk| disk.remove(&file()).unwrap()), [old.clone(), None].into());
    assert_eq!(outcomes(|disk| disk.remove(&file()).and_then(|()| disk.sync_folder(Path::new(FOLDER))).unwrap()), [None].into());
    let replaced = outcomes(|disk| {
        // The power fails after the rename and before its folder is synced.
        disk.crash_at(Some(disk.writes() + 5));
        disk.write_atomically(&file(), b"new").unwrap_err();
    });
    assert_eq!(replaced, [old, new].into(), "the old or the new, never a part");
}

#[test]
fn of_bytes_that_were_not_synced_a_part_survives() {
    let (mut lengths, mut zeros) = (BTreeSet::new(), 0);
    for seed in 0..400 {
        let disk = disk(seed);
        let mut open = disk.create(&file(), 0).unwrap();
        open.append(b"first").unwrap();
        disk.sync_folder(Path::new(FOLDER)).unwrap();
        // The write itself is the last before the power fails.
        disk.crash_at(Some(disk.writes() + 1));
        open.append(b"second").unwrap_err();
        disk.crash();
        let bytes = disk.bytes(&file()).unwrap();
        let added = bytes.strip_prefix(b"first").unwrap();
        let written = added.iter().take_while(|byte| **byte != 0).count();
        assert!(b"second".starts_with(&added[..written]) && added[written..].iter().all(|byte| *byte == 0), "{added:?}");
        lengths.insert(added.len());
        zeros += usize::from(written < added.len());
        assert!(open.append(b"third").is_err(), "what was open before is dead");
    }
    assert_eq!(lengths, (0..=6).collect());
    assert!(zeros > 10, "{zeros}");
}

#[test]
fn a_cut_that_was_not_synced_happened_or_never_did() {
    let outcome = |seed| {
        let disk = disk(seed);
        disk.create(&file(), 0).unwrap().append(b"whole torn").unwrap();
        disk.sync_folder(Path::new(FOLDER)).unwrap();
        disk.crash_at(Some(disk.writes() + 1));
        disk.open(&file()).unwrap().cut(5).unwrap_err();
        disk.crash();
        disk.bytes(&file()).unwrap()
    };
    assert_eq!((0..100).map(outcome).collect::<BTreeSet<_>>(), [b"whole torn".to_vec(), b"whole".to_vec()].into());
}

#[test]
fn power_fails_at_the_planned_write_and_nothing_works_until_it_is_back() {
    let disk = disk(3);
    let before = disk.writes();
    disk.crash_at(Some(before + 3));
    let mut open = disk.create(&file(), 0).unwrap();
    open.append(b"x").unwrap_err();
    assert!(disk.is_down());
    assert_eq!(disk.writes(), before + 3);
    for failed in [
        disk.read(&file(), 9).map(drop),
        disk.names(Path::new(FOLDER)).map(drop),
        disk.open(&file()).map(drop),
        disk.remove(&file()),
        disk.write_atomically(&file(), b""),
        disk.create_folder(Path::new(FOLDER)),
        disk.sync_folder(Path::new(FOLDER)),
    ] {
        assert!(failed.is_err());
    }
    disk.crash();
    disk.sync_folder(Path::new(FOLDER)).unwrap();
}

#[test]
fn a_full_disk_takes_what_was_reserved_and_no_more() {
    let disk = disk(4);
    let full = |result: Result<(), FileError>| result.err().is_some_and(|error| error.source.kind() == io::ErrorKind::StorageFull);
    let mut reserved = disk.create(&file(), 8).unwrap();
    disk.set_room(Room::Reserved);
    reserved.append(b"12345678").unwrap();
    assert!(full(reserved.append(b"9")));
    let other = Path::new(FOLDER).join("other");
    assert!(full(disk.create(&other, 8).map(drop)));
    assert!(full(disk.write_atomically(&other, b"content")));
    assert!(full(disk.create_folder(Path::new("/elsewhere"))));
    assert_eq!(disk.bytes(&other), None);
    reserved.cut(2).unwrap();
    disk.set_room(Room::Nothing);
    assert!(full(reserved.append(b"3")), "not even what was reserved");
    disk.remove(&file()).unwrap();
    disk.set_room(Room::Plenty);
    disk.write_atomically(&other, b"content").unwrap();
}

#[test]
fn the_same_seed_and_the_same_acts_give_the_same_disk() {
    let left = |seed| {
        let disk = disk(seed);
        let mut open = disk.create(&file(), 0).unwrap();
        for n in 0..20 {
            disk.crash_at(Some(disk.writes() + 1 + n % 4));
            drop(open.append(b"some line\n"));
            drop(disk.write_atomically(&Path::new(FOLDER).join("state"), format!("{n}").as_bytes()));
            disk.crash();
            match disk.open(&file()) {
                Ok(file) => open = file,
                Err(_) => open = disk.create(&file(), 0).unwrap(),
            }
        }
        (disk.bytes(&file()), disk.bytes(&Path::new(FOLDER).join("state")), disk.writes())
    };
    assert_eq!(left(7), left(7));
    assert!((0..20).map(left).collect::<BTreeSet<_>>().len() > 10, "seeds differ");
}

#[test]
fn a_folder_that_could_not_be_made_durable_is_made_so_when_it_is_asked_for_again() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        disk.fail_at(4);
        assert!(disk.create_folder(Path::new(FOLDER)).is_err(), "the folder is there, and its name could not be synced");
        disk.create_folder(Path::new(FOLDER)).unwrap();
        disk.create(&file(), 0).unwrap().append(b"durable").unwrap();
        disk.sync_folder(Path::new(FOLDER)).unwrap();
        disk.crash();
        assert_eq!(disk.bytes(&file()), Some(b"durable".to_vec()), "seed {seed}");
    }
}
