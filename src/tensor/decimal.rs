//! Decimal numbers of few digits, read from text and rounded once, without a detour over a general parser.
//!
//! What takes more digits or has an exponent, or lies so near the middle of two floats that more digits would have to tell, is
//! left to the standard library.

/// Is a JSON number without an exponent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    pub is_negative: bool,
    /// Its digits as one whole number.
    pub digits: u64,
    /// How many of them stand behind the point.
    pub places: usize,
}

impl Short {
    /// Reads a number without an exponent that 19 digits make, behind space or none, and gives where it ends.
    #[inline(always)]
    pub(super) fn read(text: &[u8], mut at: usize) -> Option<(Self, usize)> {
        const MOST_DIGITS: usize = 19;
        const TENS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = text.get(at) {
            at += 1;
        }
        let is_negative = text.get(at) == Some(&b'-');
        at += usize::from(is_negative);
        let start = at;
        let mut digits = 0u64;
        let one_by_one = |at: &mut usize, digits: &mut u64| {
            while let Some(digit @ b'0'..=b'9') = text.get(*at) {
                *digits = digits.wrapping_mul(10).wrapping_add((digit - b'0').into());
                *at += 1;
            }
        };
        one_by_one(&mut at, &mut digits);
        let whole = at - start;
        let mut places = 0;
        if text.get(at) == Some(&b'.') {
            at += 1;
            let start = at;
            // Eight at a time while the text goes on for so long. That they are eight is guessed, so that the next need not wait.
            while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
                let values = u64::from_le_bytes(*eight) ^ u64::from_le_bytes([b'0'; 8]);
                let count = digits_of(values);
                if count == 8 {
                    digits = digits.wrapping_mul(TENS[8]).wrapping_add(number_of(values));
                    at += 8;
                    continue;
                }
                // Zeros in front in place of what is behind.
                let values = values.checked_shl(u64::BITS - 8 * count).unwrap_or(0);
                digits = digits
                    .wrapping_mul(TENS[count as usize])
                    .wrapping_add(number_of(values));
                at += count as usize;
                break;
            }
            one_by_one(&mut at, &mut digits);
            places = at - start;
            if places == 0 {
                return None;
            }
        }
        let is_less_than_one = text.get(start) == Some(&b'0');
        let is_number = whole == 1 || (whole > 1 && !is_less_than_one);
        let known = places + if is_less_than_one { 0 } else { whole };
        (is_number && known <= MOST_DIGITS).then_some((
            Short {
                is_negative,
                digits,
                places,
            },
            at,
        ))
    }

    /// Gives the nearest float64, and none where more digits would have to tell which that is, or where that is not the whole
    /// number that is written.
    #[inline]
    pub(super) fn nearest_f64(self) -> Option<f64> {
        // Of the upper 64 bits of a product of 128, those below the mantissa.
        const BELOW: u32 = u64::BITS - f64::MANTISSA_DIGITS;
        const HALF: u64 = 1 << (BELOW - 1);
        // The inverse is too great by one part in 2^63 at most, so that these bits are by this at most.
        const EXCESS: u64 = 2;
        if self.digits == 0 {
            return Some(self.signed(0.0));
        }
        if self.places == 0 && self.digits > 1 << f64::MANTISSA_DIGITS {
            return None;
        }
        let &(inverse, shift) = INVERSES.get(self.places)?;
        let leading = self.digits.leading_zeros();
        let product = u128::from(self.digits << leading) * u128::from(inverse);
        let (upper, lower) = ((product >> u64::BITS) as u64, product as u64);
        let doubled = (upper >> (u64::BITS - 1)) ^ 1;
        let upper = (upper << doubled) | ((lower >> (u64::BITS - 1)) & doubled);
        let rest = upper % (1 << BELOW);
        if (HALF..=HALF + EXCESS).contains(&rest) {
            return None;
        }
        let mantissa = (upper >> BELOW) + u64::from(rest > HALF);
        // A mantissa that was rounded up to the next power of two adds one to the exponent by itself.
        let exponent = (u64::BITS + BELOW - leading) as i32 - doubled as i32 - self.places as i32 - shift;
        let biased = (exponent + f64::MAX_EXP - 1 + f64::MANTISSA_DIGITS as i32 - 1) as u64;
        let bits = ((biased - 1) << (f64::MANTISSA_DIGITS - 1)) + mantissa;
        Some(self.signed(f64::from_bits(bits)))
    }

    /// Gives the nearest float32, as [`nearest_f64`](Self::nearest_f64) does.
    #[inline]
    pub(super) fn nearest_f32(self) -> Option<f32> {
        const BELOW: u32 = f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS;
        let wide = self.nearest_f64()?;
        let normal = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
        // What is rounded twice is wrong only where the first rounding ends halfway between two float32.
        let is_halfway = wide.to_bits() % (1 << BELOW) == 1 << (BELOW - 1);
        let is_exact = self.places > 0 || self.digits <= 1 << f32::MANTISSA_DIGITS;
        (is_exact && !is_halfway && (normal.contains(&wide.abs()) || wide == 0.0)).then_some(wide as f32)
    }

    #[inline]
    pub(super) fn signed<F: std::ops::Neg<Output = F>>(self, value: F) -> F {
        if self.is_negative { -value } else { value }
    }
}

/// For each power of ten that divides a [`Short`]: the inverse of that of five, as a number of 64 bits that is too great by less
/// than one, over two to the given power.
static INVERSES: [(u64, i32); 28] = {
    let mut inverses = [(1 << 63, 63); 28];
    let mut five = 1u128;
    let mut at = 1;
    while at < inverses.len() {
        five *= 5;
        let shift = 127 - five.leading_zeros() as i32 + 64;
        inverses[at] = (((1u128 << shift) / five) as u64 + 1, shift);
        at += 1;
    }
    inverses
};

/// Gives how many of eight bytes are digits before the first that is none; each is the value of a digit, the first the lowest.
#[inline(always)]
fn digits_of(values: u64) -> u32 {
    // A digit is at most 9; a byte that is none has its top bit set by this, and may change those above it, never below.
    let others = (values | values.wrapping_add(u64::from_le_bytes([0x76; 8]))) & u64::from_le_bytes([0x80; 8]);
    others.trailing_zeros() / 8
}

/// Gives the number that eight digits make, one a byte, the first the lowest.
#[inline(always)]
fn number_of(values: u64) -> u64 {
    // Pairs of digits, of pairs and of fours become one number each.
    let pairs = ((values.wrapping_mul((10 << 8) + 1)) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = ((pairs.wrapping_mul((100 << 16) + 1)) >> 16) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul((10_000 << 32) + 1)) >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Short> {
        Short::read(text.as_bytes(), 0).map(|(short, end)| {
            assert_eq!(end, text.len(), "{text}");
            short
        })
    }

    /// Compares with the standard library, which rounds the text itself.
    fn check(text: &str) -> bool {
        let short = read(text).unwrap_or_else(|| panic!("{text} is short"));
        let (wide, narrow) = (short.nearest_f64(), short.nearest_f32());
        if let Some(wide) = wide {
            assert_eq!(wide.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        if let Some(narrow) = narrow {
            assert_eq!(narrow.to_bits(), text.parse::<f32>().unwrap().to_bits(), "{text}");
        }
        wide.is_some()
    }

    #[test]
    fn numbers_in_the_middle_of_two_floats_are_left_to_the_standard_library() {
        // 2^53 + 1, and 1 and half of the least that can be added to it.
        for text in [
            "9007199254740993",
            "9007199254740993.0",
            "-9007199254740993",
            "18014398509481988",
        ] {
            assert!(!check(text), "{text}");
        }
        for text in ["1.000000059604644775", "16777217.0"] {
            assert!(read(text).unwrap().nearest_f32().is_none(), "{text}");
            check(text);
        }
        for text in [
            "9007199254740992",
            "0",
            "-0",
            "0.0",
            "-0.000",
            "1",
            "0.1",
            "18446744073709551.61",
        ] {
            assert!(check(text), "{text}");
        }
    }

    #[test]
    fn what_is_long_or_no_number_is_not_read() {
        for text in [
            "",
            "-",
            ".5",
            "1.",
            "-.5",
            "01",
            "00.1",
            "+1",
            "a",
            "12345678901234567890",
            "1.2345678901234567890",
            "0.12345678901234567890",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        assert!(matches!(
            Short::read(b" \n\t-12.50,", 0),
            Some((
                Short {
                    is_negative: true,
                    digits: 1250,
                    places: 2
                },
                9
            ))
        ));
        assert!(matches!(Short::read(b"1.5e3", 0), Some((_, 3))));
    }

    #[test]
    fn random_floats_are_read_as_they_were_written() {
        let mut state = 1u64;
        let mut taken = 0;
        for _ in 0..20_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let value = (state >> 11) as f64 / (1u64 << 53) as f64;
            let text = format!("{value}");
            if text.len() > 20 {
                continue;
            }
            taken += usize::from(check(&text));
            check(&format!("-{}", value as f32 * 1e3));
        }
        assert!(taken > 15_000, "{taken} of 20,000 were read here");
    }

    proptest! {
        #[test]
        fn every_short_number_is_rounded_as_the_standard_library_does(digits in any::<u64>(), places in 0usize..20, by in 0u32..20) {
            let digits = digits / 10u64.pow(by) / 10;
            let text = format!("{digits:0width$}", width = places + 1);
            let (whole, behind) = text.split_at(text.len() - places);
            match places {
                0 => check(whole),
                _ => check(&format!("{whole}.{behind}")),
            };
        }
    }
}
