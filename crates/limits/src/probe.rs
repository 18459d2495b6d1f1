//! What the host gives at the moment, beside every round.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::stage::Stage;
use crate::{database, echo};

const LASTS: Duration = Duration::from_secs(1);

/// Measures disk, HTTP and database for a second each. `when`: before or after.
///
/// # Panics
/// If something fails.
pub async fn probe(stage: &Stage, figures: &mut Figures, when: &str) {
    let fdatasync = fdatasync(stage);
    figures.add(format!("probe.{when}.fdatasync"), fdatasync);
    let echo = echo::rate(32, LASTS).await;
    figures.add(format!("probe.{when}.echo"), echo);
    let insert = database::inserts(stage, 1, 1, LASTS).await;
    figures.add(format!("probe.{when}.insert"), insert);
}

/// Writes of 4 KiB, each followed by fdatasync, a second.
fn fdatasync(stage: &Stage) -> f64 {
    const BLOCK: u64 = 4096;
    const BLOCKS: u64 = 1024;
    let file = tempfile::tempfile_in(stage.dir()).expect("a file");
    file.write_all_at(&vec![0; (BLOCK * BLOCKS) as usize], 0)
        .expect("a write");
    file.sync_all().expect("a sync");
    let begun = Instant::now();
    let mut count = 0_u64;
    while begun.elapsed() < LASTS {
        let block = [count as u8; BLOCK as usize];
        file.write_all_at(&block, count % BLOCKS * BLOCK)
            .expect("a write");
        file.sync_data().expect("a sync");
        count += 1;
    }
    count as f64 / begun.elapsed().as_secs_f64()
}
