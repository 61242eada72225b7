//! docs/install.md, followed to the letter on plain hosts: block by block, each where the page says.

use roadstead_tests::fleet::{Erp, PASSWORD, Profile, packages};
use roadstead_tests::lab::{Host, HostOptions, Lab, workspace};
use std::process::{Command, Stdio};

/// One block of the page: where it is run, or which file it is, and its text.
struct Block {
    language: String,
    place: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some((language, place)) = line.strip_prefix("```").and_then(|info| info.split_once(' ')) else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block { language: language.to_owned(), place: place.to_owned(), text: format!("{}\n", text.join("\n")) });
    }
    blocks
}

struct Machines {
    lab: Lab,
    controller: Host,
    data: Host,
    web: Host,
    desk: tempfile::TempDir,
}

impl Machines {
    fn new() -> Self {
        let lab = Lab::new("page").unwrap();
        let names = ["control", "data", "web-1"].map(|name| (name.to_owned(), HostOptions::default()));
        let [controller, data, web]: [Host; 3] = lab.hosts_with(names.to_vec()).unwrap().try_into().ok().unwrap();
        data.start_redis().unwrap();
        data.start_postgresql("erp", PASSWORD).unwrap();
        let packages = packages(Profile::Dev).unwrap();
        for (host, package) in [(&controller, &packages.controller), (&web, &packages.agent)] {
            host.push_file(package, &format!("/root/{}", package.file_name().unwrap().to_str().unwrap())).unwrap();
        }
        let erp = Erp::build(Profile::Dev).unwrap();
        let desk = tempfile::tempdir().unwrap();
        let done =
            Command::new("git").args(["clone", "-q", "--branch", "v1.1.0"]).arg(erp.repository()).arg(desk.path().join("erp")).status();
        assert!(done.unwrap().success());
        Self { lab, controller, data, web, desk }
    }

    /// The page's names are those of machines that there are not: here they are addresses. Nobody waits for a long bake.
    fn here(&self, text: &str) -> String {
        text.replace("deploy.example.org", &self.controller.ip()).replace("db.example.org", &self.data.ip()).replace("60s", "1s")
    }

    fn follow(&self, block: &Block) {
        let text = self.here(&block.text);
        match (block.language.as_str(), block.place.as_str()) {
            ("sh", "controller") => on_host(&self.controller, &text),
            ("sh", "host") => on_host(&self.web, &text),
            ("sh", "admin") => self.at_the_desk(&text),
            (_, file) => {
                let path = self.desk.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
        }
    }

    /// Runs the admin's lines; those that bring a file to or from a host are done by the lab, which has no ssh.
    fn at_the_desk(&self, text: &str) {
        let mut script = String::new();
        for line in text.lines() {
            if let Some(("scp", paths)) = line.split_once(' ') {
                self.run(&script);
                script.clear();
                let (from, to) = paths.split_once(' ').unwrap();
                self.copy(from, to);
            } else {
                script.push_str(line);
                script.push('\n');
            }
        }
        self.run(&script);
    }

    fn copy(&self, from: &str, to: &str) {
        let desk = |path: &str| self.desk.path().join(path);
        match (from.split_once(':'), to.split_once(':')) {
            (Some((_, remote)), None) => {
                let text = self.controller.read(&format!("/root/{remote}")).unwrap();
                let path = desk(to);
                std::fs::write(&path, text).unwrap();
                std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            }
            (None, Some((host, remote))) if host == self.web.name() => self.web.push_file(&desk(from), remote).unwrap(),
            _ => panic!("scp {from} {to}"),
        }
    }

    fn run(&self, script: &str) {
        if script.is_empty() {
            return;
        }
        let program = Profile::Dev.program("roadstead");
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-exc", script]).current_dir(self.desk.path()).stdin(Stdio::null());
        command.env("PATH", path).env("ROADSTEAD_CONFIG_DIR", self.desk.path().join("config"));
        let done = self.lab.network().enter(|| command.output().unwrap()).unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        println!("{said}");
        assert!(done.status.success(), "the page's admin is stuck:\n{said}");
    }
}

fn on_host(host: &Host, text: &str) {
    let said = host.sh(&format!("cd /root && set -ex\n{text}"));
    println!("{}", said.as_deref().unwrap_or_default());
    assert!(said.is_ok(), "the page is wrong for {}:\n{text}\n{said:?}", host.name());
}

#[test]
fn whoever_follows_the_page_gets_an_app_that_serves() {
    let page = std::fs::read_to_string(workspace().join("docs/install.md")).unwrap();
    let blocks = blocks(&page);
    assert!(blocks.len() >= 12, "the page has lost its blocks");
    let machines = Machines::new();
    for block in &blocks {
        machines.follow(block);
    }
    assert!(machines.web.exec(&["readlink", "/srv/roadstead/erp/current"]).unwrap().contains("1.1.0"));
}
