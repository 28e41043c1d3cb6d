//! Stand-in.
pub enum Escape { None }
pub struct GlobalsRoot;
impl GlobalsRoot { pub fn new(_: &[u8]) -> GlobalsRoot { GlobalsRoot } }
pub struct Template(String);
impl Template { pub fn compile(s: &str) -> Result<Template, String> { Ok(Template(s.into())) }
 pub fn render(&self, _r: &GlobalsRoot, _e: Escape, out: &mut Vec<u8>) { out.extend_from_slice(self.0.as_bytes()) } }
