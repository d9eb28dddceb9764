//! LF to CRLF, over a stream that comes in chunks.

/// Turns each LF that no CR precedes into CR LF; knows across chunks what came before.
#[derive(Debug, Default)]
pub(super) struct Crlf {
    after_cr: bool,
}

impl Crlf {
    pub(super) fn convert(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len() + chunk.len() / 16);
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            let (text, lf) = match line.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (line, false),
            };
            out.extend_from_slice(text);
            let after_cr = text.last().map_or(self.after_cr, |last| *last == b'\r');
            if lf {
                out.extend_from_slice(if after_cr { b"\n" } else { b"\r\n" });
            }
            self.after_cr = after_cr && !lf;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_lf_gets_its_cr_and_a_crlf_stays_wherever_the_stream_is_cut() {
        let stream = b"\na\nb\r\nc\r\r\n\n\r\n\rd\n";
        let converted = b"\r\na\r\nb\r\nc\r\r\n\r\n\r\n\rd\r\n";
        for size in 1..=stream.len() {
            let mut crlf = Crlf::default();
            let out: Vec<u8> = stream.chunks(size).flat_map(|chunk| crlf.convert(chunk)).collect();
            assert_eq!(out, converted, "in chunks of {size}");
        }
    }
}
