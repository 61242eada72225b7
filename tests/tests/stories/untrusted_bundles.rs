//! What is not signed as a host wants it, or is not what was signed, is refused by everyone who can know, and by the host in any case:
//! the old release serves on, and the operator reads what is wrong.

use roadstead_tests::fleet::{Fleet, FleetOptions};
use roadstead_tests::lab::Execution;
use std::path::Path;

const STATE: &str = "/var/lib/roadstead-controller";

#[test]
fn only_what_is_signed_and_whole_comes_to_a_host() {
    let fleet = Fleet::new("untrusted", &FleetOptions::default()).unwrap();
    fleet.deploy("1.0.0").unwrap();
    fleet.desk.write("host-keys.toml", &fleet.erp.trust).unwrap();
    fleet.controller.exec(&["touch", &format!("{STATE}/before")]).unwrap();

    damaged_bundles(&fleet);
    signed_by_nobody_and_by_a_stranger(&fleet);
    signed_by_too_few(&fleet);
    altered_at_the_controller(&fleet);
}

/// Cut, changed or prolonged anywhere: neither verified nor pushed.
fn damaged_bundles(fleet: &Fleet) {
    let whole = std::fs::read(fleet.erp.bundle("1.1.0")).unwrap();
    let signatures = signatures_at(&whole);
    let flip = |at: usize| {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        changed
    };
    let blobs = signatures + 2 + 80 + 8;
    for (what, bytes) in [
        ("no magic", flip(3)),
        ("another count of signatures", flip(signatures)),
        ("another digest of a blob", flip(blobs)),
        ("another blob", flip(blobs + (whole.len() - blobs) / 2)),
        ("empty", Vec::new()),
        ("cut in the manifest", whole[..signatures / 2].to_vec()),
        ("cut in the signatures", whole[..signatures + 40].to_vec()),
        ("cut in the blobs", whole[..whole.len() / 2].to_vec()),
        ("cut at its last byte", whole[..whole.len() - 1].to_vec()),
        ("prolonged", [whole.as_slice(), b"x"].concat()),
    ] {
        let bundle = place(fleet, "damaged.bundle", &bytes);
        for words in [&["bundle", "verify", &bundle, "--keys", "host-keys.toml"][..], &["push", &bundle]] {
            let done = fleet.desk.try_roadstead(words).unwrap();
            assert_eq!(done.code, Some(1), "{what}: {words:?}: {}{}", done.stdout, done.stderr);
            assert!(done.stderr.contains("cannot be used") && done.stderr.contains("damaged.bundle"), "{what}: {}", done.stderr);
        }
    }
    let renamed = place(fleet, "renamed.bundle", &replaced(&whole, b"ERP Team", b"ERP Tram"));
    verify(fleet, &renamed, "host-keys.toml");
    let releases = fleet.desk.json(&["release", "list"]).unwrap();
    assert_eq!(releases.as_array().unwrap().len(), 1, "the controller has only what serves");
}

fn signed_by_nobody_and_by_a_stranger(fleet: &Fleet) {
    let unsigned = place(fleet, "unsigned.bundle", &with_signatures(&std::fs::read(fleet.erp.bundle("1.1.0")).unwrap(), &[]));
    let verified = verify(fleet, &unsigned, "host-keys.toml");
    assert!(verified.stderr.contains("no trusted key signed the release"), "{}", verified.stderr);
    let pushed = fleet.desk.try_roadstead(&["push", &unsigned]).unwrap();
    assert_eq!(pushed.code, Some(3), "{}", pushed.stderr);
    assert!(pushed.stderr.contains("is not signed") && pushed.stderr.contains("roadstead bundle sign"), "{}", pushed.stderr);

    // The controller knows no keys: whom a host believes is written on the host.
    key(fleet, "stranger");
    fleet.desk.roadstead(&["bundle", "sign", &unsigned, "--key", "stranger.key"]).unwrap();
    let verified = verify(fleet, &unsigned, "host-keys.toml");
    assert!(verified.stderr.contains("not trusted here"), "{}", verified.stderr);
    fleet.desk.roadstead(&["push", &unsigned]).unwrap();
    let said = not_deployed(fleet);
    assert!(said.contains("no trusted key signed the release") && said.contains("release-keys.toml"), "{said}");

    // One bit of the right signature is as bad as a stranger's.
    let whole = std::fs::read(fleet.erp.bundle("1.1.0")).unwrap();
    let mut signature = whole[signatures_at(&whole) + 2..][..80].to_vec();
    signature[40] ^= 1;
    let forged = place(fleet, "forged.bundle", &with_signatures(&whole, &[&signature]));
    verify(fleet, &forged, "host-keys.toml");
    fleet.desk.roadstead(&["push", &forged]).unwrap();
    let said = not_deployed(fleet);
    assert!(said.contains("no trusted key signed the release"), "{said}");
}

/// Two of three keys must sign; one is not enough, however often it does.
fn signed_by_too_few(fleet: &Fleet) {
    let keys = format!("{}{}{}", fleet.erp.trust.replace("threshold = 1", "threshold = 2"), key(fleet, "second"), key(fleet, "third"));
    fleet.desk.write("two-of-three.toml", &keys).unwrap();
    fleet.hosts[0].write("/etc/roadstead/release-keys.toml", &keys).unwrap();
    let whole = std::fs::read(fleet.erp.bundle("1.1.0")).unwrap();
    let signature = &whole[signatures_at(&whole) + 2..][..80];
    let bundle = place(fleet, "few.bundle", &whole);
    let twice = place(fleet, "twice.bundle", &with_signatures(&whole, &[signature, signature]));
    for bundle in [&bundle, &twice] {
        let verified = verify(fleet, bundle, "two-of-three.toml");
        assert!(verified.stderr.contains("only lab signed the release, 2 trusted keys must"), "{}", verified.stderr);
    }
    let pushed = fleet.desk.try_roadstead(&["push", &twice]).unwrap();
    assert_eq!(pushed.code, Some(3), "{}", pushed.stderr);
    assert!(pushed.stderr.contains("signed the release twice"), "{}", pushed.stderr);

    fleet.desk.roadstead(&["push", &bundle]).unwrap();
    let said = not_deployed(fleet);
    assert!(said.contains("only lab signed the release, 2 trusted keys must"), "{said}");
    // Even a controller that says so itself does not make one key two.
    let row = "signatures = (SELECT json_array(value, value) FROM json_each(signatures) LIMIT 1)";
    fleet.controller.systemctl(&["stop", "roadstead-controller"]).unwrap();
    fleet
        .controller
        .exec(&["sqlite3", &format!("{STATE}/roadstead.db"), &format!("UPDATE releases SET {row} WHERE version = '1.1.0'")])
        .unwrap();
    fleet.controller.systemctl(&["start", "roadstead-controller"]).unwrap();
    fleet.wait_for_all().unwrap();
    let said = not_deployed(fleet);
    assert!(said.contains("2 trusted keys must"), "{said}");

    fleet.desk.roadstead(&["bundle", "sign", &bundle, "--key", "second.key"]).unwrap();
    fleet.desk.roadstead(&["bundle", "verify", &bundle, "--keys", "two-of-three.toml"]).unwrap();
    fleet.desk.roadstead(&["push", &bundle]).unwrap();
}

/// What changes on the controller's disk is noticed by the host that fetches it; pushed again, it is whole again.
fn altered_at_the_controller(fleet: &Fleet) {
    // A file of the release that the host does not have, by its digest in the store.
    let blob = fleet.controller.sh(&format!("find {STATE}/blobs -type f -size +1k -newer {STATE}/before | head -n 1")).unwrap();
    let blob = blob.trim();
    assert!(!blob.is_empty());
    for damage in [
        "printf '\\377\\377\\377\\377' | dd of=$0 bs=1 seek=300 conv=notrunc status=none",
        "cp \"$(find $1 -type f -size -2k | head -n 1)\" $0",
        "truncate -s 200 $0",
    ] {
        fleet.controller.exec(&["sh", "-c", damage, blob, &format!("{STATE}/blobs")]).unwrap();
        let said = not_deployed(fleet);
        assert!(said.contains("roadstead push"), "{damage}: {said}");
        fleet.desk.roadstead(&["push", "few.bundle"]).unwrap();
    }
    fleet.desk.roadstead(&["deploy", "staging", "1.1.0"]).unwrap();
    assert_eq!(fleet.serving().unwrap(), ["1.1.0"]);
}

/// Tries to deploy 1.1.0, which must fail at the host and leave 1.0.0 serving; gives what the operator reads.
fn not_deployed(fleet: &Fleet) -> String {
    let done = fleet.desk.try_roadstead(&["deploy", "staging", "1.1.0"]).unwrap();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(1), "{said}");
    assert_eq!(fleet.serving().unwrap(), ["1.0.0"], "{said}");
    assert!(said.contains("Hint:"), "{said}");
    said
}

fn verify(fleet: &Fleet, bundle: &str, keys: &str) -> Execution {
    let done = fleet.desk.try_roadstead(&["bundle", "verify", bundle, "--keys", keys]).unwrap();
    assert_eq!(done.code, Some(3), "{}{}", done.stdout, done.stderr);
    done
}

/// Makes a key and gives its entry for release-keys.toml.
fn key(fleet: &Fleet, name: &str) -> String {
    let said = fleet.desk.roadstead(&["key", "generate", "--name", name, "--out", &format!("{name}.key")]).unwrap();
    format!("\n[[key]]{}", said.split_once("[[key]]").unwrap().1)
}

fn place(fleet: &Fleet, name: &str, bytes: &[u8]) -> String {
    let path = Path::new(fleet.desk.folder()).join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

/// The bytes with the first occurrence of a text replaced by another one of the same length.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

/// Where a bundle's signatures begin: behind its magic and its manifest.
fn signatures_at(bundle: &[u8]) -> usize {
    let magic = "ROADSTEAD-BUNDLE-1\n".len();
    let length = u32::from_le_bytes(bundle[magic..magic + 4].try_into().unwrap());
    magic + 4 + usize::try_from(length).unwrap()
}

/// The bundle with these signatures instead of its own.
fn with_signatures(bundle: &[u8], signatures: &[&[u8]]) -> Vec<u8> {
    let at = signatures_at(bundle);
    let own = usize::from(u16::from_le_bytes(bundle[at..at + 2].try_into().unwrap()));
    let count = u16::try_from(signatures.len()).unwrap().to_le_bytes();
    [&bundle[..at], &count, &signatures.concat(), &bundle[at + 2 + 80 * own..]].concat()
}
