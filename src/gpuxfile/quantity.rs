use std::time::Duration;

/// Splits `12.5GiB` into the digits' value times 10^9 and the unit.
fn split(text: &str) -> Option<(u128, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (number, ""),
    };
    if whole.is_empty() || whole.len() > 20 || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let billionths: u128 = format!("{whole}{fraction:0<9}").parse().ok()?;
    Some((billionths, unit.trim_start()))
}

/// The longest time that makes sense for one call or load: thirty days.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Reads a time: `30s`, `500ms`, `1.5m`, `2h`, or seconds without a unit; above zero, at most thirty days.
pub fn duration(text: &str) -> Option<Duration> {
    let (billionths, unit) = split(text)?;
    let nanoseconds = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" | "" => 1_000_000_000u128,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let total = billionths.checked_mul(nanoseconds)? / 1_000_000_000;
    let duration = Duration::from_nanos(u64::try_from(total).ok()?);
    (!duration.is_zero() && duration <= LONGEST).then_some(duration)
}

/// Writes a time so that [`duration`] reads it back.
pub(super) fn write_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    for (unit, size) in [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)] {
        if nanoseconds.is_multiple_of(size) {
            return format!("{}{unit}", nanoseconds / size);
        }
    }
    format!("{nanoseconds}ns")
}

/// Reads a size in bytes: `2GiB` and `2Gi` are powers of 1024, `2GB` and `2G` of 1000; above zero.
pub fn memory(text: &str) -> Option<u64> {
    let (billionths, unit) = split(text)?;
    let bytes: u128 = match unit {
        "" | "B" => 1,
        "k" | "K" | "kB" | "KB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        "Ti" | "TiB" => 1 << 40,
        _ => return None,
    };
    let total = billionths.checked_mul(bytes)? / 1_000_000_000;
    u64::try_from(total).ok().filter(|&size_bytes| size_bytes > 0)
}

/// Writes a size so that [`memory`] reads it back.
pub(super) fn write_memory(size_bytes: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if size_bytes.is_multiple_of(size) {
            return format!("{}{unit}", size_bytes / size);
        }
    }
    size_bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_exactly() {
        for (text, nanoseconds) in [
            ("30", 30_000_000_000u64),
            ("30s", 30_000_000_000),
            ("0.1", 100_000_000),
            ("500ms", 500_000_000),
            ("1.5m", 90_000_000_000),
            ("1h", 3_600_000_000_000),
            ("100 us", 100_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_nanos(nanoseconds)), "{text}");
        }
        for text in [
            "",
            "0",
            "0s",
            "-1",
            "s",
            ".5",
            "1.",
            "1.2.3",
            "30 sec",
            "1e3",
            "99999999999h",
            "721h",
            "inf",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_exactly() {
        for (text, bytes) in [
            ("2GiB", 2u64 << 30),
            ("2Gi", 2 << 30),
            ("2G", 2_000_000_000),
            ("512MB", 512_000_000),
            ("1.5 KiB", 1536),
            ("1048576", 1 << 20),
        ] {
            assert_eq!(memory(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "2gb",
            "GB",
            "-1",
            "1e9",
            "99999999999999999TiB",
            "2 GiBs",
            "0.0001k",
        ] {
            assert_eq!(memory(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for nanoseconds in [1, 999, 1_000, 1_500_000, 60_000_000_000, 2_592_000_000_000_000] {
            let time = Duration::from_nanos(nanoseconds);
            assert_eq!(duration(&write_duration(time)), Some(time));
        }
        for bytes in [1, 1023, 1 << 20, 5 << 30, u64::MAX] {
            assert_eq!(memory(&write_memory(bytes)), Some(bytes));
        }
    }
}
