use super::*;

fn write(folder: &std::path::Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

const GOOD: &str = "[environment]\nname = \"staging\"\napp = \"erp\"\n";

#[test]
fn a_folder_is_all_its_files_in_order() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "b.toml", &GOOD.replace("staging", "production"));
    write(folder.path(), "a.toml", GOOD);
    write(folder.path(), "README", "no environment");
    let names: Vec<String> = read_all(&[folder.path().to_owned()]).unwrap().iter().map(|spec| spec.name.to_string()).collect();
    assert_eq!(names, ["staging", "production"]);
    let empty = tempfile::tempdir().unwrap();
    assert!(read_all(&[empty.path().to_owned()]).unwrap_err().summary.contains("holds no *.toml"));
}

#[test]
fn every_mistake_of_every_file_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.toml", GOOD);
    write(folder.path(), "b.toml", &format!("{GOOD}[strategy]\nbathc = 1\n"));
    write(folder.path(), "c.toml", GOOD);
    write(folder.path(), "d.toml", "");
    let failure = read_all(&[folder.path().to_owned(), folder.path().join("missing.toml")]).unwrap_err();
    let text = failure.to_string().replace(&folder.path().display().to_string(), "env");
    insta::assert_snapshot!(text);
}

#[test]
fn an_environment_of_several_apps_needs_its_app() {
    let environment = |app: &str| Environment { name: "staging".into(), app: app.into(), ..Default::default() };
    let both = || vec![environment("erp"), environment("shop")];
    assert_eq!(one(both(), "staging", "shop").unwrap().app, "shop");
    assert!(one(both(), "staging", "").unwrap_err().hint.unwrap().contains("erp, shop"));
    assert!(one(Vec::new(), "x", "").unwrap_err().summary.contains("no environment"));
}
