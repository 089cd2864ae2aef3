//! Logs that kubelet rotates or removes.

use super::*;

const LINES: &str = "2026-01-01T00:00:00Z stdout F \
     {\"run\":\"r\",\"n\":1,\"at\":1,\"event\":\"started\",\"writer\":\"acme\"}\n";

fn place(name: &str) -> (PathBuf, PathBuf) {
    let base = std::env::temp_dir().join(format!("collect-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&base));
    let container = base.join("pods/tenant-acme_app-1_uid/app");
    fs::create_dir_all(&container).unwrap();
    (base, container)
}

#[test]
fn a_log_outlives_its_pod_and_its_rotation() {
    let (base, container) = place("outlives");
    fs::write(container.join("0.log"), LINES).unwrap();
    let collector = Collector::begin(&base.join("pods"), &base.join("kept")).unwrap();
    fs::rename(container.join("0.log"), container.join("0.log.20260101")).unwrap();
    let sent = "2026-01-01T00:00:01Z stdout F \
         {\"run\":\"r\",\"n\":2,\"at\":2,\"event\":\"sent\",\"seq\":1}\n";
    fs::write(container.join("0.log"), sent).unwrap();
    assert_eq!(collector.logs().unwrap().len(), 2);
    fs::remove_dir_all(base.join("pods/tenant-acme_app-1_uid")).unwrap();
    let histories = collector.histories().unwrap();
    assert_eq!(histories["acme"].attempts.len(), 1);
    assert!(histories["acme"].defects.is_empty());
    drop(collector);
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_file_that_cannot_be_kept_is_an_error() {
    let (base, container) = place("refuses");
    let collector = Collector::begin(&base.join("pods"), &base.join("kept")).unwrap();
    fs::remove_dir_all(base.join("kept")).unwrap();
    fs::write(base.join("kept"), "a file in the way").unwrap();
    fs::write(container.join("0.log"), LINES).unwrap();
    assert!(collector.logs().is_err());
    drop(collector);
    fs::remove_dir_all(base).unwrap();
}
