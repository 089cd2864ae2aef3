//! The three regions in a private space: each way to lose one, and the way back.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test and its helpers"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domicile_lab::postgres::{ADMIN, Activity, Binaries, Rejoined, Settings};
use domicile_lab::regions::{How, RegionOptions, Regions};
use domicile_lab::space::Space;
use domicile_lab::tools::Patroni;

const WEST: &str = "eu-west";
const CENTRAL: &str = "eu-central";
const EAST: &str = "us-east";

#[test]
fn regions_are_lost_and_come_back_on_the_systems_version() {
    let lab = Lab::start("sys", Binaries::system().unwrap(), true);
    a_cut_region_works_inside_and_answers_nobody_outside(&lab);
    a_region_that_is_cut_one_way_answers_nobody_outside(&lab);
    a_region_that_is_parted_or_thinned_is_mended(&lab);
    a_frozen_region_goes_on_where_it_was(&lab);
    a_full_disk_ends_the_server_and_a_new_start_frees_it(&lab);
    a_killed_primary_rejoins(&lab);
    nothing_passes_between_the_laws(&lab);
}

#[test]
fn regions_are_lost_and_come_back_on_version_18() {
    let cache = std::env::home_dir().unwrap().join(".cache/domicile-lab");
    let lab = Lab::start("v18", Binaries::v18(&cache).unwrap(), false);
    let names = "SHOW synchronous_standby_names";
    assert_eq!(lab.sql(WEST, names), "");
    a_frozen_region_goes_on_where_it_was(&lab);
    a_killed_primary_rejoins(&lab);
}

#[test]
fn a_killed_region_under_patroni_comes_back_as_a_primary_of_its_own() {
    let cache = std::env::home_dir().unwrap().join(".cache/domicile-lab");
    let patroni = Patroni::ensure(&cache, &mut |line| println!("{line}")).unwrap();
    let lab = Lab::start_with("pat", Binaries::system().unwrap(), false, Some(patroni));
    a_frozen_region_goes_on_where_it_was(&lab);
    lab.regions.lose(WEST, How::Kill).unwrap();
    let west = lab.regions.server(WEST).unwrap();
    assert_eq!(west.activity(), Activity::Ended);
    assert!(
        west.superuser_sql("postgres", "SELECT 1").is_err(),
        "Patroni is killed too, and nobody starts the server again"
    );
    // Another process finds it and brings it back: Patroni promotes it without being asked.
    let again = Regions::open(&lab.space, &lab.dir).unwrap().unwrap();
    assert_eq!(again.restore(WEST).unwrap(), Some(How::Kill));
    lab.until("the returned region writes", || {
        lab.sql(WEST, "SELECT pg_is_in_recovery()") == "f"
    });
    let status = again.status().unwrap();
    assert_eq!(status[0].timeline, Some(2), "{status:#?}");
    assert!(again.rejoin(CENTRAL).is_err(), "Patroni is to be asked");
}

fn a_cut_region_works_inside_and_answers_nobody_outside(lab: &Lab) {
    assert!(lab.answers_from(CENTRAL, WEST));
    lab.regions.lose(WEST, How::Cut).unwrap();
    assert!(lab.regions.lose(WEST, How::Kill).is_err());
    assert!(
        lab.answers_from(WEST, WEST),
        "a client inside a cut region is served"
    );
    assert!(!lab.answers_from(CENTRAL, WEST));
    assert!(!lab.answers_from(WEST, CENTRAL));
    // The synchronous standby is out of reach: only an unsynchronised commit returns.
    lab.sql(
        WEST,
        "SET synchronous_commit = local; CREATE TABLE t AS SELECT 1 AS n",
    );
    lab.until("the cut is noticed", || {
        lab.sql(WEST, "SELECT * FROM pg_stat_replication")
            .is_empty()
    });
    assert!(
        lab.regions.rejoin(WEST).is_err(),
        "a cut region cannot rejoin"
    );

    // Another process knows of it and can undo it.
    let again = Regions::open(&lab.space, &lab.dir).unwrap().unwrap();
    assert_eq!(again.lost().unwrap().get(WEST), Some(&How::Cut));
    assert_eq!(again.restore(WEST).unwrap(), Some(How::Cut));
    assert_eq!(lab.regions.restore(WEST).unwrap(), None);
    lab.until("replication is back", || {
        lab.sql(CENTRAL, "SELECT status FROM pg_stat_wal_receiver") == "streaming"
    });
    assert!(lab.answers_from(CENTRAL, WEST));
    assert!(
        lab.regions.rejoin(WEST).is_err(),
        "a standby cannot be followed"
    );
}

fn a_region_that_is_cut_one_way_answers_nobody_outside(lab: &Lab) {
    for how in [How::CutIn, How::CutOut] {
        lab.regions.lose(WEST, how).unwrap();
        assert!(!lab.answers_from(CENTRAL, WEST), "{how}");
        assert!(lab.answers_from(WEST, WEST), "{how}");
        assert_eq!(lab.regions.restore(WEST).unwrap(), Some(how));
        assert!(lab.answers_from(CENTRAL, WEST), "{how}");
    }
}

fn a_region_that_is_parted_or_thinned_is_mended(lab: &Lab) {
    let central = lab.regions.server(CENTRAL).unwrap().address().to_string();
    lab.regions.part(WEST, &[central]).unwrap();
    assert!(!lab.answers_from(CENTRAL, WEST));
    lab.regions.mend(WEST).unwrap();
    assert!(lab.answers_from(CENTRAL, WEST));
    // A login takes many packets, all of which would have to be among the one of a hundred.
    lab.regions.thin(WEST, 99).unwrap();
    assert!(!lab.answers_from(CENTRAL, WEST));
    lab.regions.mend(WEST).unwrap();
    assert!(lab.answers_from(CENTRAL, WEST));
}

fn a_full_disk_ends_the_server_and_a_new_start_frees_it(lab: &Lab) {
    lab.regions.lose(EAST, How::Full).unwrap();
    let server = lab.regions.server(EAST).unwrap();
    let write = "CREATE TABLE full_disk AS SELECT 1 AS n";
    assert!(server.superuser_sql("postgres", write).is_err());
    assert_eq!(lab.regions.restore(EAST).unwrap(), Some(How::Full));
    assert_eq!(server.activity(), Activity::Running);
    lab.sql(EAST, write);
}

fn a_frozen_region_goes_on_where_it_was(lab: &Lab) {
    lab.regions.lose(CENTRAL, How::Freeze).unwrap();
    let server = lab.regions.server(CENTRAL).unwrap();
    assert_eq!(server.activity(), Activity::Frozen);
    let status = lab.regions.status().unwrap();
    let seen = status
        .iter()
        .find(|status| status.region == CENTRAL)
        .unwrap();
    assert_eq!((seen.lost, seen.role.as_deref()), (Some(How::Freeze), None));
    lab.regions.restore(CENTRAL).unwrap();
    assert_eq!(server.activity(), Activity::Running);
    lab.until("the frozen standby streams", || {
        lab.sql(CENTRAL, "SELECT status FROM pg_stat_wal_receiver") == "streaming"
    });
}

fn a_killed_primary_rejoins(lab: &Lab) {
    lab.sql(
        WEST,
        "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n",
    );
    lab.until("the rows are replicated", || {
        lab.sql(CENTRAL, "SELECT to_regclass('kept')") == "kept"
            && lab.sql(CENTRAL, "SELECT count(*) FROM kept") == "1000"
    });
    lab.regions.lose(WEST, How::Kill).unwrap();
    assert_eq!(
        lab.regions.server(WEST).unwrap().activity(),
        Activity::Ended
    );
    lab.sql(CENTRAL, "ALTER SYSTEM RESET synchronous_standby_names");
    lab.sql(CENTRAL, "SELECT pg_reload_conf()");
    lab.regions.server(CENTRAL).unwrap().promote().unwrap();
    lab.sql(CENTRAL, "INSERT INTO kept VALUES (0)");

    // It comes back as what it was: a primary that writes on its own timeline.
    assert_eq!(lab.regions.restore(WEST).unwrap(), Some(How::Kill));
    let stray = "SET synchronous_commit = local; INSERT INTO kept SELECT generate_series(1, 50)";
    lab.sql(WEST, stray);
    let how = lab.timed("rejoin", || lab.regions.rejoin(WEST).unwrap());
    assert_eq!(how, Rejoined::Rewound);
    assert_eq!(lab.sql(WEST, "SELECT count(*) FROM kept"), "1001");
    assert_eq!(lab.sql(WEST, "SELECT pg_is_in_recovery()"), "t");
    assert_eq!(lab.sql(WEST, "SHOW synchronous_standby_names"), "");
    let status = lab.regions.status().unwrap();
    let roles: Vec<_> = status.iter().map(|status| status.role.as_deref()).collect();
    assert_eq!(roles, [Some("standby"), Some("primary"), Some("primary")]);
    let timelines: Vec<_> = status.iter().map(|status| status.timeline).collect();
    assert_eq!(timelines, [Some(2), Some(2), Some(1)]);
    assert_eq!(status[0].replication.as_deref(), Some("streaming"));
    assert_eq!(
        status[1].replication.as_deref(),
        Some("eu-west streaming async")
    );
}

fn nothing_passes_between_the_laws(lab: &Lab) {
    let within = lab.regions.traffic_between(WEST, CENTRAL).unwrap();
    assert!(
        within.packets > 0 && within.bytes > within.packets,
        "{within:?}"
    );
    assert_eq!(lab.regions.traffic_between(WEST, EAST).unwrap().packets, 0);
    assert_eq!(
        lab.regions.traffic_between(CENTRAL, EAST).unwrap().packets,
        0
    );
    lab.answers_from(WEST, EAST);
    assert!(lab.regions.traffic_between(WEST, EAST).unwrap().packets > 0);
}

struct Lab {
    dir: PathBuf,
    space: Space,
    regions: Regions,
}

impl Lab {
    fn start(name: &str, binaries: Binaries, synchronous: bool) -> Self {
        Self::start_with(name, binaries, synchronous, None)
    }

    fn start_with(
        name: &str,
        binaries: Binaries,
        synchronous: bool,
        patroni: Option<Patroni>,
    ) -> Self {
        let dir = std::env::temp_dir().join(format!("domicile-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_domicile-lab"));
        let space = Space::create(&dir, program).unwrap();
        let options = RegionOptions {
            binaries,
            synchronous,
            settings: Settings::default(),
            patroni,
        };
        let begun = now();
        let started = Regions::start(&space, &dir, &options, &mut |_| {});
        println!("{:.2} s for three regions", begun.elapsed().as_secs_f32());
        match started {
            Ok(regions) => Self {
                dir,
                space,
                regions,
            },
            Err(error) => {
                space.destroy().unwrap();
                fs::remove_dir_all(&dir).unwrap();
                panic!("{}", error.report());
            }
        }
    }

    fn sql(&self, region: &str, sql: &str) -> String {
        let server = self.regions.server(region).unwrap();
        server
            .superuser_sql("postgres", sql)
            .unwrap_or_else(|error| panic!("{}", error.report()))
    }

    /// Whether a client in one region's network can log in at another's server.
    fn answers_from(&self, inside: &str, region: &str) -> bool {
        let server = self.regions.server(region).unwrap();
        let target = format!(
            "host={} user={ADMIN} dbname=postgres sslmode=verify-full sslrootcert={}",
            server.address(),
            self.dir
                .join(format!("regions/{region}/tls/trust.crt"))
                .display()
        );
        let password = self.regions.admin_password(region).unwrap();
        let mut client = self
            .space
            .command(Some(inside), server.spec().binaries.program("psql"));
        client.env("PGCONNECT_TIMEOUT", "2");
        client.env("PGPASSWORD", secrecy::ExposeSecret::expose_secret(password));
        let output = client
            .args(["-XAtc", "SELECT 42"])
            .arg(target)
            .output()
            .unwrap();
        output.status.success() && output.stdout == b"42\n"
    }

    fn until(&self, what: &str, mut seen: impl FnMut() -> bool) {
        let begun = now();
        while !seen() {
            let status = || format!("{:#?}", self.regions.status());
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{what}: {}",
                status()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        println!("{:.2} s until {what}", begun.elapsed().as_secs_f32());
    }

    fn timed<T>(&self, what: &str, act: impl FnOnce() -> T) -> T {
        let begun = now();
        let done = act();
        println!(
            "{:.2} s for {what} in {}",
            begun.elapsed().as_secs_f32(),
            self.dir.display()
        );
        done
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.space.clone().destroy().unwrap();
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "the lab measures real processes")]
fn now() -> Instant {
    Instant::now()
}
