//! Releases as their users meet them: packed on one machine, read and laid out on another.

use proptest::prelude::*;
use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use crate::blobs::Blobs as _;
use crate::container::{self, Bundle};
use crate::diff::{Counted, diff};
use crate::ingest::{IngestError, ingest};
use crate::manifest::{BlobRef, Entry, EntryKind, InvalidManifest, Manifest, Node, TreeRef};
use crate::migrations::{InvalidFacts, Migration, MigrationFacts};
use crate::release::UntrustedRelease;
use crate::samples;
use crate::sign::SigningKey;
use crate::spec::{Django, RelativePath};
use crate::store::{Form, Store, StoreError};
use crate::unpack::lay_out;
use crate::walk::{TreeError, blobs, check, migration_facts};
use roadstead_model::{Digest, Millis};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn store(form: Form) -> (tempfile::TempDir, Store) {
    let folder = folder();
    let store = Store::open(folder.path(), form).unwrap();
    (folder, store)
}

/// A small project with what projects have: folders, a script, a link, an empty folder.
fn project(at: &Path, page: &str) {
    fs::create_dir_all(at.join("app/templates")).unwrap();
    fs::create_dir_all(at.join("empty/within")).unwrap();
    fs::write(at.join("app/__init__.py"), "").unwrap();
    fs::write(at.join("app/templates/page.html"), page).unwrap();
    fs::write(at.join("manage.py"), "#!/usr/bin/env python\n").unwrap();
    fs::set_permissions(at.join("manage.py"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("app/templates/page.html", at.join("page")).unwrap();
    symlink("../../manage.py", at.join("app/templates/up")).unwrap();
}

fn everything(_: &str, _: bool) -> bool {
    true
}

fn release(store: &Store, page: &str) -> Manifest {
    let source = folder();
    project(source.path(), page);
    let code = ingest(store, source.path(), &everything).unwrap();
    let mut manifest = samples::manifest();
    let empty = store.put(b"[]").unwrap();
    assert_eq!(manifest.packages.installed.as_ref().unwrap().root, empty);
    manifest.code = code;
    manifest
}

fn signed(manifest: &Manifest) -> UntrustedRelease {
    let bytes = manifest.encode();
    let signature = SigningKey::generate().unwrap().sign(&bytes);
    UntrustedRelease::new(bytes, vec![signature]).unwrap()
}

/// What a bundle carries comes into a store, as over the wire.
fn into(bundle: &Bundle, store: &Store) {
    for (digest, size) in bundle.blobs() {
        let mut frame = vec![0; usize::try_from(bundle.frame_bytes(&digest).unwrap()).unwrap()];
        bundle.read_frame(&digest, 0, &mut frame).unwrap();
        store.take_frame(digest, size, &mut &frame[..]).unwrap();
    }
}

#[test]
fn what_is_packed_on_one_machine_is_laid_out_the_same_on_another() {
    let (_a, builder) = store(Form::Compressed);
    let manifest = release(&builder, "hello");
    let shelf = folder();
    let bundle = shelf.path().join("erp-1.0.0.bundle");
    container::write(&bundle, &builder, &signed(&manifest)).unwrap();
    assert_eq!(fs::read_dir(shelf.path()).unwrap().count(), 1);

    let (host_folder, host) = store(Form::Raw);
    let read = Bundle::open(&bundle).unwrap();
    assert_eq!(read.release().claims().unwrap(), manifest);
    into(&read, &host);
    assert!(check(&host, manifest.trees()).unwrap() > 0);
    let place = host_folder.path().join("release");
    let done = lay_out(&host, &manifest.code.root, &place).unwrap();
    assert_eq!((done.linked, done.copied, done.links), (3, 0, 2));
    assert_eq!(fs::read_to_string(place.join("page")).unwrap(), "hello");
    assert_eq!(fs::metadata(place.join("manage.py")).unwrap().mode() & 0o7777, 0o555);
    assert_eq!(fs::metadata(place.join("app/__init__.py")).unwrap().mode() & 0o7777, 0o444);
    assert_eq!(fs::metadata(place.join("app")).unwrap().mode() & 0o7777, 0o755);
    assert!(!place.join("empty").exists());
    assert!(lay_out(&host, &manifest.code.root, &place).is_err(), "what is there is never written into");

    let again = host_folder.path().join("again");
    lay_out(&host, &manifest.code.root, &again).unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&place.join("manage.py")), inode(&again.join("manage.py")));
}

#[test]
fn the_same_files_give_the_same_root_and_a_change_touches_only_its_path() {
    let ((_a, one), (_b, two)) = (store(Form::Compressed), store(Form::Raw));
    let (first, second) = (release(&one, "hello"), release(&two, "hello"));
    assert_eq!(first.release_id(), second.release_id());
    let changed = release(&one, "other");
    let fresh = blobs(&one, &changed).unwrap().difference(&blobs(&one, &first).unwrap()).count();
    assert_eq!(fresh, 4, "one file and the three folders above it");
    let difference = diff((&one, &first), (&one, &changed)).unwrap();
    let folders = difference.by_folder();
    assert_eq!((folders.len(), folders["app"]), (1, Counted { added: 0, changed: 1, removed: 0 }));
    assert_eq!((difference.changed, difference.added.len()), (vec!["app/templates/page.html".to_owned()], 0));
}

#[test]
fn what_a_release_cannot_hold_is_refused_by_name() {
    let (_s, store) = store(Form::Compressed);
    let source = folder();
    fs::write(source.path().join("good"), "x").unwrap();
    for target in ["/etc/passwd", "../outside", "good/../../x"] {
        symlink(target, source.path().join("bad")).unwrap();
        assert!(matches!(ingest(&store, source.path(), &everything), Err(IngestError::Link { .. })), "{target}");
        assert!(ingest(&store, source.path(), &|path, _| path != "bad").is_ok(), "it can be excluded");
        fs::remove_file(source.path().join("bad")).unwrap();
    }
    nix::unistd::mkfifo(&source.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(ingest(&store, source.path(), &everything), Err(IngestError::Kind(_))));
}

fn put_node(store: &Store, entries: Vec<(&str, EntryKind)>) -> Digest {
    let node = Node(entries.into_iter().map(|(name, kind)| Entry { name: name.to_owned(), kind }).collect());
    store.put(&serde_json::to_vec(&node).unwrap()).unwrap()
}

#[test]
fn hostile_trees_are_refused_before_anything_leaves_the_folder() {
    let (place, store) = store(Form::Raw);
    let out = put_node(&store, vec![("x", EntryKind::Link { target: "../../outside".to_owned() })]);
    let up = put_node(&store, vec![("..", EntryKind::Folder { digest: out })]);
    let missing = put_node(&store, vec![("f", EntryKind::File { digest: Digest::of(b"none"), size: 4, executable: true })]);
    let mut deep = put_node(&store, vec![]);
    for _ in 0..70 {
        deep = put_node(&store, vec![("d", EntryKind::Folder { digest: deep })]);
    }
    for (index, root) in [out, up, missing, deep, Digest::of(b"nothing")].into_iter().enumerate() {
        let target = place.path().join(format!("target{index}"));
        assert!(lay_out(&store, &root, &target).is_err());
    }
    // Ten folders of the ten before, over and over: a tree that is small on disk and endless when it is walked.
    let mut bomb = put_node(&store, vec![]);
    for _ in 0..12 {
        let names: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        bomb = put_node(&store, names.iter().map(|name| (name.as_str(), EntryKind::Folder { digest: bomb })).collect());
    }
    let mut manifest = samples::manifest();
    store.put(b"[]").unwrap();
    manifest.code = TreeRef { root: bomb, entries: 0, bytes: 0 };
    assert!(matches!(blobs(&store, &manifest), Err(TreeError::TooLarge { .. })));
}

/// A release that tells what its migrations do.
fn with_facts(store: &Store) -> (Manifest, MigrationFacts) {
    let migration = Migration { name: "shop.0001_initial".to_owned(), sql: Some("CREATE TABLE x;".to_owned()), ..Migration::default() };
    let facts = MigrationFacts { format: 1, engine: "postgresql".to_owned(), migrations: vec![migration], ..MigrationFacts::default() };
    let bytes = facts.encode().unwrap();
    let mut manifest = release(store, "hello");
    manifest.migration_facts = Some(BlobRef { digest: store.put(&bytes).unwrap(), bytes: bytes.len() as u64 });
    (manifest, facts)
}

#[test]
fn what_migrations_do_travels_with_the_bundle_and_stays_off_hosts() {
    let (_a, builder) = store(Form::Compressed);
    let (manifest, facts) = with_facts(&builder);
    let shelf = folder();
    let bundle = shelf.path().join("b");
    container::write(&bundle, &builder, &signed(&manifest)).unwrap();
    let (_b, other) = store(Form::Raw);
    let opened = Bundle::open(&bundle).unwrap();
    let read = opened.release().claims().unwrap();
    assert_eq!(migration_facts(&opened, &read).unwrap().as_ref(), Some(&facts));
    into(&opened, &other);
    assert_eq!(migration_facts(&other, &read).unwrap(), Some(facts));
    let blob = manifest.migration_facts.unwrap();
    assert!(blobs(&other, &read).unwrap().contains(&(blob.digest, blob.bytes)));
    other.remove(&blob.digest).unwrap();
    assert!(check(&other, read.trees()).is_ok(), "a host needs its trees alone");
    assert_eq!(migration_facts(&other, &samples::manifest()).unwrap(), None);
}

#[test]
fn a_manifest_that_names_something_else_than_facts_is_refused() {
    let (_s, store) = store(Form::Compressed);
    let (mut manifest, _) = with_facts(&store);
    let mut named = |bytes: &[u8], length: u64, there: bool| {
        let digest = if there { store.put(bytes).unwrap() } else { Digest::of(bytes) };
        manifest.migration_facts = Some(BlobRef { digest, bytes: length });
        blobs(&store, &manifest).unwrap_err()
    };
    assert!(matches!(named(b"gone", 4, false), TreeError::Store(StoreError::Missing(_))));
    assert!(matches!(named(b"[]", 2, true), TreeError::Facts(InvalidFacts::Unreadable(_))));
    assert!(matches!(named(b"{\"format\":99}", 13, true), TreeError::Facts(InvalidFacts::Newer(99))));
    assert!(matches!(named(b"{\"format\":1}", 11, true), TreeError::Differs { .. }));
    assert!(matches!(named(b"{\"format\":1}", u64::MAX, true), TreeError::Facts(InvalidFacts::TooLarge(_))));
    assert!(matches!(named(&vec![b' '; 9 << 20], 4, true), TreeError::Store(StoreError::TooLarge { .. })));
}

#[test]
fn older_hosts_are_told_by_the_format_what_they_cannot_read() {
    let (_s, store) = store(Form::Compressed);
    let (mut manifest, _) = with_facts(&store);
    let format = |manifest: &Manifest| Manifest::format_with(manifest.migration_facts.as_ref(), &manifest.spec);
    assert_eq!((format(&samples::manifest()), format(&manifest)), (1, 2));
    manifest.format = 1;
    assert_eq!(Manifest::decode(&manifest.encode()), Err(InvalidManifest::Field(1)));
    let mut limited = Manifest { format: 2, migration_facts: None, ..manifest };
    let old = Manifest { format: 1, ..limited.clone() };
    let text = String::from_utf8(old.encode()).unwrap();
    assert!(Manifest::decode(&old.encode()).is_ok() && !text.contains("migration_facts") && !text.contains("_timeout\":null"));
    let statement_timeout = Some(Millis::from_secs(60));
    let manage = RelativePath::root();
    limited.spec.django = Some(Django { settings: "erp.settings".into(), manage, migrate: true, lock_timeout: None, statement_timeout });
    assert_eq!((Manifest::decode(&limited.encode()), format(&limited)), (Err(InvalidManifest::Field(2)), 3));
    limited.format = 3;
    assert_eq!(Manifest::decode(&limited.encode()), Ok(limited));
}

#[test]
fn a_tree_is_what_its_manifest_says() {
    let (_s, store) = store(Form::Compressed);
    let mut manifest = release(&store, "hello");
    manifest.code.bytes += 1;
    assert!(matches!(blobs(&store, &manifest), Err(TreeError::Differs { .. })));
}

#[test]
fn damage_in_the_store_is_found_before_a_release_is_used() {
    let (_s, store) = store(Form::Raw);
    let manifest = release(&store, "hello");
    let path = store.path_of(&Digest::of(b"hello"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "hellO").unwrap();
    assert!(check(&store, manifest.trees()).is_err());
    store.remove_all_but(&HashSet::new()).unwrap();
    assert!(check(&store, manifest.trees()).is_err());
}

/// Bytes of all files below a folder.
/// A bundle's bytes with a manifest, no signature, and blobs as they are told: digest, size, length of the frame, frame.
fn forged(manifest: &[u8], blobs: &[(Digest, u64, u64, &[u8])]) -> Vec<u8> {
    let mut bytes = b"ROADSTEAD-BUNDLE-1\n".to_vec();
    bytes.extend(u32::try_from(manifest.len()).unwrap().to_le_bytes());
    bytes.extend(manifest);
    bytes.extend(0_u16.to_le_bytes());
    bytes.extend((blobs.len() as u64).to_le_bytes());
    for (digest, size, length, frame) in blobs {
        bytes.extend(digest.as_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(*frame);
    }
    bytes
}

#[test]
fn a_bundle_that_lies_about_its_blobs_is_refused() {
    let manifest = samples::manifest().encode();
    let packed = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let (empty, digest) = (packed(b"[]"), Digest::of(b"[]"));
    let honest = |frame: &'static [u8]| (Digest::of(frame), frame.len() as u64);
    let length = empty.len() as u64;
    let zeros = vec![0; 64 * 1024 * 1024];
    let bomb = packed(&zeros);
    let (other, other_digest, other_size) = (packed(b"other"), honest(b"other").0, honest(b"other").1);
    let two = [empty.clone(), packed(b"[]")].concat();
    let junk = [empty.clone(), b"junk".to_vec()].concat();
    let mut sorted = [(digest, 2, length, empty.as_slice()), (other_digest, other_size, other.len() as u64, other.as_slice())];
    sorted.sort_by_key(|blob| blob.0);
    let mut turned = sorted;
    turned.reverse();
    let shelf = folder();
    let path = shelf.path().join("b");
    let refused = |what: &str, bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        assert!(Bundle::open(&path).is_err(), "{what}");
    };
    fs::write(&path, forged(&manifest, &[(digest, 2, length, &empty)])).unwrap();
    let opened = Bundle::open(&path).unwrap();
    let mut frame = vec![0; empty.len()];
    opened.read_frame(&digest, 0, &mut frame).unwrap();
    assert_eq!((opened.frame_bytes(&digest), &frame), (Some(length), &empty), "the honest one is taken");
    let mut rest = vec![0; empty.len() - 1];
    opened.read_frame(&digest, 1, &mut rest).unwrap();
    assert_eq!(rest, empty[1..]);
    assert!(opened.read_frame(&digest, 2, &mut rest).is_err(), "nothing behind its end");
    assert!(opened.read_frame(&other_digest, 0, &mut rest).is_err());
    assert_eq!(opened.read_checked(&digest, 2).unwrap(), b"[]");
    assert!(matches!(opened.read_checked(&digest, 1), Err(StoreError::TooLarge { .. })));
    // Whoever changes the file afterwards changes nothing unseen.
    let mut changed = forged(&manifest, &[(digest, 2, length, &empty)]);
    let end = changed.len() - empty.len();
    changed[end..].copy_from_slice(&packed(b"{}")[..empty.len()]);
    fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(&changed).unwrap();
    assert!(matches!(opened.read_checked(&digest, 2), Err(StoreError::Damaged(_))));

    for (what, blobs) in [
        ("a bomb that says it is small", vec![(Digest::of(&zeros), 1024, bomb.len() as u64, bomb.as_slice())]),
        ("larger than it says", vec![(digest, 1, length, empty.as_slice())]),
        ("smaller than it says", vec![(digest, 3, length, empty.as_slice())]),
        ("larger than any may be", vec![(digest, u64::MAX, length, empty.as_slice())]),
        ("a frame longer than the file", vec![(digest, 2, length + 1, empty.as_slice())]),
        ("a frame that ends too early", vec![(digest, 2, length - 1, empty.as_slice())]),
        ("an endless frame", vec![(digest, 2, u64::MAX, empty.as_slice())]),
        ("two frames in one", vec![(digest, 2, two.len() as u64, two.as_slice())]),
        ("junk behind a frame", vec![(digest, 2, junk.len() as u64, junk.as_slice())]),
        ("another blob than its digest", vec![(digest, other_size, other.len() as u64, other.as_slice())]),
        ("the same twice", vec![sorted[0]; 2]),
        ("a blob that belongs to nothing", sorted.to_vec()),
        ("out of order", turned.to_vec()),
        ("none at all", vec![]),
    ] {
        refused(what, &forged(&manifest, &blobs));
    }
    let mut many = forged(&manifest, &[]);
    let count = many.len() - 8;
    many[count..].copy_from_slice(&u64::MAX.to_le_bytes());
    refused("more blobs than can be", &many);
    let mut long = forged(&manifest, &[]);
    long[19..23].copy_from_slice(&u32::MAX.to_le_bytes());
    refused("a manifest longer than any", &long);
}

#[test]
fn every_cut_and_every_changed_byte_of_a_bundle_is_noticed() {
    let (_a, builder) = store(Form::Compressed);
    let shelf = folder();
    let bundle = shelf.path().join("b");
    let original = signed(&release(&builder, "hello"));
    container::write(&bundle, &builder, &original).unwrap();
    let bytes = fs::read(&bundle).unwrap();
    let manifest = original.claims().unwrap();
    let attempt = |bytes: &[u8]| {
        fs::write(&bundle, bytes).unwrap();
        Bundle::open(&bundle)
    };
    assert!(attempt(&bytes).is_ok());
    for end in (0..bytes.len()).step_by(37) {
        assert!(attempt(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert!(attempt(&[&bytes[..], b"x"].concat()).is_err());
    for place in (0..bytes.len()).step_by(29) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        if let Ok(opened) = attempt(&changed) {
            // A changed signature reads, and is then not trusted; a bit that means nothing to zstd leaves every blob what it was.
            let read = opened.release();
            let other = read.encoded() != original.encoded() || read.signatures() != original.signatures();
            let (_folder, fresh) = store(Form::Raw);
            into(&opened, &fresh);
            assert!(other || check(&fresh, manifest.trees()).is_ok(), "byte {place} was changed without notice");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn junk_is_no_bundle(bytes in prop::collection::vec(any::<u8>(), 0..300), magic: bool) {
        let shelf = folder();
        let path = shelf.path().join("b");
        let bytes = if magic { [b"ROADSTEAD-BUNDLE-1\n".to_vec(), bytes].concat() } else { bytes };
        fs::write(&path, bytes).unwrap();
        prop_assert!(Bundle::open(&path).is_err());
    }
}
