//! fio's JSON report: the numbers of one job.

use crate::error::BenchError;
use crate::workload::{Pattern, Workload};
use serde_json::Value;

/// What the client saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ClientView {
    /// Requests that were answered; a write and its flush count as one.
    pub(crate) ops: f64,
    /// The same per second.
    pub(crate) iops: f64,
    /// Payload per second, in bytes.
    pub(crate) bytes_per_s: f64,
    /// Time from submission to answer, in microseconds. Of a flushed write: the write's and the
    /// flush's, added.
    pub(crate) mean_us: f64,
    /// Median of it.
    pub(crate) p50_us: f64,
    /// 99th percentile of it.
    pub(crate) p99_us: f64,
}

/// Reads the first job of a report that was made with `--lat_percentiles=1`.
///
/// # Errors
/// [`BenchError::Report`] when a number is missing.
pub(crate) fn read(report: &Value, workload: &Workload) -> Result<ClientView, BenchError> {
    let number = |pointer: &str| {
        let missing = || BenchError::Report { pointer: pointer.to_owned() };
        report.pointer(pointer).and_then(Value::as_f64).ok_or_else(missing)
    };
    let data = format!("/jobs/0/{}", workload.direction());
    let mut groups = vec![data.clone()];
    match workload.pattern {
        Pattern::RandomWriteFlushed => groups.push("/jobs/0/sync".to_owned()),
        Pattern::RandomRead | Pattern::RandomWrite | Pattern::SequentialWrite => {}
    }
    let latency_us = |what: &str| -> Result<f64, BenchError> {
        let mut sum_us = 0.0;
        for group in &groups {
            sum_us += number(&format!("{group}/lat_ns/{what}"))? / 1e3;
        }
        Ok(sum_us)
    };
    Ok(ClientView {
        ops: number(&format!("{data}/total_ios"))?,
        iops: number(&format!("{data}/iops"))?,
        bytes_per_s: number(&format!("{data}/bw_bytes"))?,
        mean_us: latency_us("mean")?,
        p50_us: latency_us("percentile/50.000000")?,
        p99_us: latency_us("percentile/99.000000")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WORKLOADS;
    use serde_json::json;

    fn report() -> Value {
        let latency = |us: f64| {
            let percentile = json!({ "50.000000": us * 1e3, "99.000000": us * 9e3 });
            json!({ "mean": us * 2e3, "percentile": percentile })
        };
        let direction = |us: f64| json!({ "total_ios": 300, "iops": 100.5, "bw_bytes": 411_648, "lat_ns": latency(us) });
        let sync = json!({ "total_ios": 300, "lat_ns": latency(50.0) });
        json!({ "jobs": [{ "read": direction(7.0), "write": direction(10.0), "sync": sync }] })
    }

    #[test]
    fn the_latency_of_a_flushed_write_is_that_of_both_and_of_others_their_own() {
        for workload in WORKLOADS {
            let expected_us = match workload.pattern {
                Pattern::RandomRead => 7.0,
                Pattern::RandomWrite | Pattern::SequentialWrite => 10.0,
                Pattern::RandomWriteFlushed => 60.0,
            };
            let view = read(&report(), &workload).unwrap();
            assert!((view.p50_us - expected_us).abs() < 1e-6, "{}: {view:?}", workload.name);
            assert!((view.p99_us - expected_us * 9.0).abs() < 1e-6, "{}: {view:?}", workload.name);
        }
    }

    #[test]
    fn a_missing_number_is_named() {
        let error = read(&json!({ "jobs": [] }), &WORKLOADS[0]).unwrap_err();
        assert!(error.to_string().contains("/jobs/0/write/"), "{error}");
    }
}
