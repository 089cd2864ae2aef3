//! The life of a primary and its standby, on the system's PostgreSQL and on 18.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::*;
use crate::process::now;

const ROWS: &str = "SELECT count(*) FROM kept";

#[test]
fn a_killed_primary_rejoins_without_losing_what_was_replicated() {
    a_killed_primary_rejoins(&Binaries::system().unwrap());
}

#[test]
fn a_killed_primary_rejoins_on_version_18() {
    a_killed_primary_rejoins(&Binaries::v18(&cache()).unwrap());
}

fn a_killed_primary_rejoins(binaries: &Binaries) {
    let lab = Loopback::new(binaries, Settings::default()).unwrap();
    let clock = Clock::start();
    let west = lab.primary("eu-west").unwrap();
    clock.say("primary");
    west.superuser_sql(
        "postgres",
        "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n",
    )
    .unwrap();
    let central = lab.standby("eu-central", &west).unwrap();
    clock.say("clone");
    let sync = "ALTER SYSTEM SET synchronous_standby_names = '\"eu-central\"'";
    west.superuser_sql("postgres", sync).unwrap();
    west.superuser_sql("postgres", "SELECT pg_reload_conf()")
        .unwrap();
    west.superuser_sql("postgres", "INSERT INTO kept VALUES (1001)")
        .unwrap();
    assert_eq!(
        west.superuser_sql(
            "postgres",
            "SELECT application_name FROM pg_stat_replication"
        )
        .unwrap(),
        "eu-central"
    );

    // Rows that only the old primary has: acknowledged without the standby.
    central.freeze();
    assert_eq!(central.activity(), Activity::Frozen);
    let lost =
        "SET synchronous_commit = local; INSERT INTO kept SELECT generate_series(2001, 3000)";
    west.superuser_sql("postgres", lost).unwrap();
    west.kill().unwrap();
    assert_eq!(west.activity(), Activity::Ended);
    central.thaw();
    central.promote().unwrap();
    clock.say("kill, promote");
    central
        .superuser_sql("postgres", "INSERT INTO kept VALUES (1002)")
        .unwrap();
    let rows = central.superuser_sql("postgres", ROWS).unwrap();

    let how = west.rejoin(&central).unwrap();
    clock.say(&format!("rejoin {how:?}"));
    assert_eq!(how, Rejoined::Rewound);
    assert_eq!(west.superuser_sql("postgres", ROWS).unwrap(), rows);
    assert_eq!(
        west.superuser_sql("postgres", "SELECT pg_is_in_recovery()")
            .unwrap(),
        "t"
    );
    let settings = "SELECT current_setting('cluster_name'), \
                    current_setting('synchronous_standby_names')";
    assert_eq!(
        west.superuser_sql("postgres", settings).unwrap(),
        "eu-west|"
    );
    a_standby_rejoins_by_the_least_that_is_enough(&west, &central, &clock);
}

/// `west` is a standby of `central` and becomes its primary again.
fn a_standby_rejoins_by_the_least_that_is_enough(west: &Server, central: &Server, clock: &Clock) {
    let rows = central.superuser_sql("postgres", ROWS).unwrap();
    // And home again, in good order: nothing to rewind.
    central.stop().unwrap();
    west.promote().unwrap();
    assert_eq!(central.rejoin(west).unwrap(), Rejoined::Followed);
    clock.say("failback, rejoin");

    // A standby that only crashed, and one whose data is beyond a rewind.
    central.kill().unwrap();
    assert_eq!(central.rejoin(west).unwrap(), Rejoined::Followed);
    central.kill().unwrap();
    std::fs::remove_file(central.data_dir().join("global/pg_control")).unwrap();
    let how = central.rejoin(west).unwrap();
    clock.say(&format!("rejoin {how:?}"));
    assert!(matches!(how, Rejoined::Cloned { .. }), "{how:?}");
    assert_eq!(central.superuser_sql("postgres", ROWS).unwrap(), rows);
}

#[test]
fn only_verified_tls_and_the_right_password_get_in() {
    let lab = Loopback::new(&Binaries::system().unwrap(), Settings::default()).unwrap();
    let server = lab.primary("eu-west").unwrap();
    let Passwords { admin, .. } = lab.passwords();
    let login = |user: &str, password: &SecretString| {
        server.login_sql(user, password, "postgres", "SELECT 1")
    };
    assert_eq!(login(ADMIN, admin).unwrap(), "1");
    assert!(login(SUPERUSER, admin).is_err());
    let wrong = SecretString::from("wrong");
    let wrong = login(ADMIN, &wrong).unwrap_err().to_string();
    assert!(wrong.contains("password authentication failed"), "{wrong}");

    let superuser = format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{ADMIN}'");
    assert_eq!(
        server
            .login_sql(ADMIN, admin, "postgres", &superuser)
            .unwrap(),
        "f"
    );

    let stranger = crate::pki::Authority::new("a stranger").unwrap();
    std::fs::write(lab.dir().join("eu-west/tls/trust.crt"), stranger.cert_pem()).unwrap();
    let refused = login(ADMIN, admin).unwrap_err().to_string();
    assert!(refused.contains("certificate verify failed"), "{refused}");
    let log = std::fs::read_to_string(server.log()).unwrap();
    assert!(!log.contains(admin.expose_secret()));
}

#[test]
fn a_dropped_server_leaves_no_process_and_no_shared_memory() {
    let lab = Loopback::new(&Binaries::system().unwrap(), Settings::default()).unwrap();
    let server = lab.primary("eu-west").unwrap();
    let endpoint = (server.address(), server.port());
    let lock = std::fs::read_to_string(server.data_dir().join("postmaster.pid")).unwrap();
    let segment = lock
        .lines()
        .nth(6)
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .to_owned();
    assert!(segments().contains(&segment));
    server.freeze();
    assert!(server.start().is_err());
    server.kill().unwrap();
    drop(server);
    assert!(!segments().contains(&segment));
    let refused = std::net::TcpStream::connect_timeout(&endpoint.into(), Duration::from_secs(1));
    assert!(refused.is_err());
}

fn segments() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let id = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    table.lines().filter_map(id).collect()
}

fn cache() -> std::path::PathBuf {
    let home = std::env::home_dir().unwrap();
    home.join(".cache/domicile-lab")
}

struct Clock(std::time::Instant);

impl Clock {
    fn start() -> Self {
        Self(now())
    }

    fn say(&self, what: &str) {
        println!(
            "{:>6.2} s  {what}",
            now().duration_since(self.0).as_secs_f32()
        );
    }
}
