//! Lists, page by page: in the order of ids, so that what is created or deleted meanwhile shifts nothing.

use std::{fmt::Display, str::FromStr, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use highwater_proto::limits::{LIST_ITEMS_DEFAULT, LIST_ITEMS_MAX};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::request::query;
use crate::{
    admin::Caller,
    api::Api,
    catalogue::{Collection, Kept, Stored},
    refusal::{Reason, Refusal, Result, invalid},
    write::random,
};

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Parameters {
    /// At most so many items. There may be fewer on a page that is not the last.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Only the one with this name.
    name: Option<String>,
}

/// Which page of a log.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Positions {
    /// At most so many entries. There may be fewer on a page that is not the last.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before, with the same `order`.
    cursor: Option<String>,
    /// Which entries come first.
    #[param(inline)]
    order: Option<Order>,
}

/// In which order a log is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The newest entry comes first.
    #[default]
    Newest,
    /// The oldest entry comes first.
    Oldest,
}

/// A request for a page of a list.
pub struct Listing {
    /// Who asks.
    pub caller: Caller,
    /// Only the one with this name.
    pub name: Option<String>,
    limit: usize,
    cursor: Option<String>,
}

/// A request for a page of a log.
pub struct Reading {
    /// Who asks.
    pub caller: Caller,
    /// At most so many.
    pub limit: usize,
    /// Which come first.
    pub order: Order,
    cursor: Option<String>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// The cursor of the next page; missing on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl FromRequestParts<Arc<Api>> for Listing {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Listing> {
        let caller = Caller::of(parts, api)?;
        let parameters: Parameters = query(parts)?;
        Ok(Listing {
            caller,
            limit: limit(parameters.limit)?,
            name: parameters.name,
            cursor: parameters.cursor,
        })
    }
}

impl FromRequestParts<Arc<Api>> for Reading {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Reading> {
        let caller = Caller::of(parts, api)?;
        let positions: Positions = query(parts)?;
        Ok(Reading {
            caller,
            limit: limit(positions.limit)?,
            order: positions.order.unwrap_or_default(),
            cursor: positions.cursor,
        })
    }
}

fn limit(limit: Option<usize>) -> Result<usize> {
    let limit = limit.unwrap_or(LIST_ITEMS_DEFAULT);
    match (1..=LIST_ITEMS_MAX).contains(&limit) {
        true => Ok(limit),
        false => Err(invalid(format!("`limit` is from 1 to {LIST_ITEMS_MAX}"))),
    }
}

impl Listing {
    /// The item that the page before ended with.
    ///
    /// # Errors
    /// [`Reason::CursorInvalid`] for a cursor of another list.
    pub fn position<I: FromStr>(&self, api: &Api, list: &str) -> Result<Option<I>> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let text = open(api, list, cursor)?;
        text.parse()
            .map(Some)
            .map_err(|_| Reason::CursorInvalid.into())
    }

    /// Those of a parent that are asked for, from behind a position on: all, or the one with the name.
    pub fn find<'a, T: Kept>(
        &self,
        collection: &'a Collection<T>,
        parent: T::Parent,
        after: Option<T::Id>,
    ) -> impl Iterator<Item = (T::Id, &'a Arc<Stored<T>>)> + use<'a, T> {
        let name = self.name.as_ref();
        let named = name.map(|name| collection.named(parent, name));
        let all = named.is_none().then(|| collection.of_after(parent, after));
        named.flatten().into_iter().chain(all.into_iter().flatten())
    }

    /// A page from items that come in order from behind [`Listing::position`]. It looks at one more than it shows.
    ///
    /// # Errors
    /// When no cursor can be made.
    pub fn page<I: Display, T>(
        &self,
        api: &Api,
        list: &str,
        items: impl Iterator<Item = (I, T)>,
    ) -> Result<Page<T>> {
        let mut found: Vec<(I, T)> = items.take(self.limit + 1).collect();
        let is_last = found.len() <= self.limit;
        found.truncate(self.limit);
        let next = match found.last() {
            Some((id, _)) if !is_last => Some(seal(api, list, &id.to_string())?),
            _ => None,
        };
        Ok(Page {
            items: found.into_iter().map(|(_, item)| item).collect(),
            next,
        })
    }
}

impl Reading {
    /// Where the log goes on; empty for its first page.
    ///
    /// # Errors
    /// [`Reason::CursorInvalid`] for a cursor of another log or order.
    pub fn position(&self, api: &Api, list: &str) -> Result<String> {
        let cursor = self.cursor.as_ref();
        cursor.map_or(Ok(String::new()), |cursor| open(api, list, cursor))
    }
}

fn open(api: &Api, list: &str, cursor: &str) -> Result<String> {
    let sealed = URL_SAFE_NO_PAD.decode(cursor).ok();
    let opened = sealed.and_then(|sealed| api.sealer.open(&name_of(list), &sealed));
    opened
        .and_then(|text| String::from_utf8(text).ok())
        .ok_or_else(|| Reason::CursorInvalid.into())
}

/// The cursor of a position in a list.
///
/// # Errors
/// When there is no randomness.
pub fn seal(api: &Api, list: &str, position: &str) -> Result<String> {
    let sealed = api
        .sealer
        .seal(&name_of(list), position.as_bytes(), &random()?);
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

/// A cursor is good for its own list only.
fn name_of(list: &str) -> String {
    format!("cursor of {list}")
}
