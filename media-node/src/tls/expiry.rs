//! The end of a certificate's validity. The libraries of TLS check it, but do not return it.

const SEQUENCE: u8 = 0x30;
/// The optional version, with which a certificate begins.
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Returns `notAfter` of an X.509 certificate in DER, as a Unix timestamp in seconds. RFC 5280, section 4.1.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    // Serial number, algorithm of the signature, issuer.
    for _ in 0..3 {
        (_, _, fields) = any_element(fields)?;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    let (_, _, rest) = any_element(validity)?;
    let (tag, time, _) = any_element(rest)?;
    timestamp(tag, time)
}

fn element(input: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, value, rest) = any_element(input)?;
    (tag == wanted).then_some((value, rest))
}

/// Returns the tag and the value of the first element, and what follows it.
fn any_element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = input.split_first_chunk()?;
    let (length, rest) = match first {
        0..0x80 => (usize::from(first), rest),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
            let length = bytes.iter().try_fold(0_usize, |length, byte| {
                length.checked_mul(256)?.checked_add(usize::from(*byte))
            });
            (length?, rest)
        }
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// Parses `YYMMDDHHMMSSZ` (until 2049) or `YYYYMMDDHHMMSSZ`.
fn timestamp(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let two = |at: usize| {
        let &[high, low] = digits.get(at..at + 2)? else {
            return None;
        };
        let both = high.is_ascii_digit() && low.is_ascii_digit();
        both.then(|| i64::from(high - b'0') * 10 + i64::from(low - b'0'))
    };
    let (year, after) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = two(0)?;
            (if year < 50 { 2000 } else { 1900 } + year, 2)
        }
        (GENERALIZED_TIME, 14) => (two(0)? * 100 + two(2)?, 4),
        _ => return None,
    };
    let (month, day) = (two(after)?, two(after + 2)?);
    let (hour, minute, second) = (two(after + 4)?, two(after + 6)?, two(after + 8)?);
    let days = days_since_1970(year, month, day);
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days of the Gregorian calendar, counted in years that begin in March: the leap day is the last one.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn both_forms_of_a_time_are_parsed() {
        let of = |text: &str| {
            let tag = if text.len() == 13 {
                UTC_TIME
            } else {
                GENERALIZED_TIME
            };
            timestamp(tag, text.as_bytes())
        };
        assert_eq!(of("700101000000Z"), Some(0));
        assert_eq!(of("000229120000Z"), Some(951_825_600));
        assert_eq!(of("491231235959Z"), Some(2_524_607_999));
        assert_eq!(of("20500101000000Z"), Some(2_524_608_000));
        assert_eq!(of("21260101000000Z"), Some(4_922_899_200));
        assert_eq!(of("2126010100000xZ"), None);
        assert_eq!(of("21260101000000"), None);
    }

    #[test]
    fn end_of_a_certificate_is_read_and_a_truncated_one_has_none() {
        let pem = include_bytes!("../../tests/tls/first.crt");
        let certificate = CertificateDer::from_pem_slice(pem).unwrap();
        // As `openssl x509 -noout -enddate` prints it: Nov  4 06:41:17 2126 GMT.
        assert_eq!(not_after(&certificate), Some(4_949_448_077));
        for end in 0..certificate.len() {
            assert_eq!(not_after(&certificate[..end]), None);
        }
    }
}
