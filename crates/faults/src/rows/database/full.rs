//! The disk of the database is full.

use std::path::{Path, PathBuf};
use std::process::Command;

use tasker_testkit::private_server::{Kind as Server, PrivateServer};

use super::{promise_refusals, set};
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::{Scene, until};

/// Enough for a new database, most of it its log of a fixed size, and little more.
const SIZE: &str = "size=256m";

pub(super) fn f20(scene: &mut Scene<'_>) {
    let disk = Disk::mount(&scene.stage.dir().join("small-disk"));
    let database = PrivateServer::start(Server::MariaDb, disk.dir.join("mariadb"));
    scene.use_database(&database);
    set(scene, 1, &[]);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(600);
    disk.fill();
    let api = scene.api().clone();
    let refused = || api.metric("tasker_requests_refused_total", "code=\"unavailable\"");
    let before = refused();
    // Space that the tables have already is used up first.
    until("clients to be refused", || {
        (refused() >= before + 200).then_some(())
    });
    let pid = scene.apis[0].program.pid();
    let seen = refused() - before;
    disk.free();
    // InnoDB may end the whole server when it cannot extend a file in the background. Then whoever
    // watches over it starts it again; nothing of tasker's is restarted.
    database.restart();
    scene.cleared();
    load.wait_accepted(400);
    scene.end(load);
    scene.injected("refused by a full disk", seen, 200);
    let log = scene.apis[0].program.printed();
    let told = log.matches("the ledger does not answer").count();
    scene.note("lines in the log", told);
    scene.promise("the log does not say it once", told == 1);
    let is_same = scene.apis[0].program.is_running() && scene.apis[0].program.pid() == pid;
    scene.promise("the API did not live on", is_same);
    promise_refusals(scene);
    scene.settle("once", Limits::default());
    database.stop();
}

/// A small disk in memory. Needs root. Gone when it is dropped.
struct Disk {
    dir: PathBuf,
}

impl Disk {
    fn mount(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(dir);
        let status = mount.status().expect("the program mount");
        assert!(status.success(), "a small disk can be mounted by root only");
        Self {
            dir: dir.to_owned(),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.dir.join("ballast")
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).expect("a file");
        let filled = std::io::copy(&mut std::io::repeat(b'x'), &mut file);
        assert!(filled.is_err(), "a disk without an end");
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may still be ending after a panic.
        let status = Command::new("umount").arg("-l").arg(&self.dir).status();
        if !status.is_ok_and(|status| status.success()) {
            println!("{} is still mounted", self.dir.display());
        }
    }
}
