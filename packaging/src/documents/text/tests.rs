use super::*;

#[test]
fn what_is_typed_can_be_copied_and_prose_is_set_as_prose() {
    assert_eq!(line("a well-known `--config` it's"), r"a well-known \fB\-\-config\fR it's");
    assert_eq!(literal("echo '~' ^ \\"), r"echo \(aq\(ti\(aq \(ha \e");
    assert_eq!(line("for *NAME* only"), r"for \fINAME\fR only");
}

#[test]
fn no_line_of_text_is_a_request() {
    assert_eq!(line(".yaml comes first"), r"\&.yaml comes first");
    assert_eq!(line("'tis"), r"\&'tis");
    assert_eq!(line("`.d`'s files"), r"\fB\&.d\fR's files");
    assert_eq!(line("a lone ` stays"), r"a lone \(ga stays");
}

#[test]
fn blocks_become_paragraphs_terms_and_examples() {
    let page = blocks("One.\nTwo.\n\n`TERM`\n: means\n  this\n\n    run -x\n\n    again\n\nEnd.\n");
    let expected = ".PP\nOne.\nTwo.\n.TP\n\\fBTERM\\fR\nmeans\nthis\n\
                    .PP\n.RS 4\n.nf\nrun \\-x\n.sp\nagain\n.fi\n.RE\n.PP\nEnd.\n";
    assert_eq!(page, expected);
}

#[test]
fn sections_are_found_by_their_headings() {
    let found = sections("note\n# FILES\nhere\n# SEE ALSO\nthere\n");
    let expected = [("FILES", ".PP\nhere\n"), ("SEE ALSO", ".PP\nthere\n")];
    assert_eq!(found, expected.map(|(heading, body)| (heading.to_owned(), body.to_owned())));
}
