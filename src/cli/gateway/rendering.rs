//! Families of metrics that are not of the engine: dead letters, certificates.

use std::fmt::Write as _;

use crate::engine::CertificateEnd;
use crate::store::letters::LetterCounts;

/// Appends how many dead letters there are.
pub(super) fn render_letters(page: &mut String, counts: LetterCounts) {
    let LetterCounts { letters, bytes, evicted, expired } = counts;
    // A string takes everything.
    let _ = writeln!(
        page,
        "# HELP tidegate_dead_letters_kept Dead letters that are kept.\n# TYPE tidegate_dead_letters_kept gauge\n\
         tidegate_dead_letters_kept {letters}\n\
         # HELP tidegate_dead_letters_bytes Bytes of the dead letters that are kept.\n\
         # TYPE tidegate_dead_letters_bytes gauge\ntidegate_dead_letters_bytes {bytes}\n\
         # HELP tidegate_dead_letters_removed_total Dead letters that were removed because of the limits.\n\
         # TYPE tidegate_dead_letters_removed_total counter\n\
         tidegate_dead_letters_removed_total{{reason=\"bytes\"}} {evicted}\n\
         tidegate_dead_letters_removed_total{{reason=\"age\"}} {expired}"
    );
}

/// Appends when certificates end.
pub(super) fn render_certificates(page: &mut String, ends: &[(&str, CertificateEnd)]) {
    const NAME: &str = "tidegate_certificate_expiry_seconds";
    if ends.is_empty() {
        return;
    }
    // A string takes everything.
    let _ = writeln!(
        page,
        "# HELP {NAME} End of a certificate's validity, in seconds since 1970.\n# TYPE {NAME} gauge"
    );
    for (listener, CertificateEnd { file, unix_seconds }) in ends {
        let file = file.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = writeln!(page, "{NAME}{{listener=\"{listener}\",certificate=\"{file}\"}} {unix_seconds}");
    }
}
