//! Lists of what is not watched, a page at a time.

use kube::Api;
use kube::api::{DynamicObject, ListParams};

use crate::context::Ctx;
use crate::kube::client::CallError;

/// Objects per page.
const PAGE: u32 = 250;
/// Most pages: a namespace with more objects of one kind is looked through in part.
const PAGES: usize = 8;

/// The objects that `api` leads to, at most `PAGE * PAGES` of them.
///
/// # Errors
/// The first call that fails.
pub async fn list(ctx: &Ctx, api: &Api<DynamicObject>) -> Result<Vec<DynamicObject>, CallError> {
    let mut parameters = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    for _ in 0..PAGES {
        let page = ctx.call(api.list(&parameters)).await?;
        let more = page
            .metadata
            .continue_
            .clone()
            .filter(|token| !token.is_empty());
        found.extend(page.items);
        let Some(token) = more else { break };
        parameters = parameters.continue_token(&token);
    }
    Ok(found)
}
