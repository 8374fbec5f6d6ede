"""Programs as people write them in notebooks. Each takes the library and a folder of files."""

from __future__ import annotations

from typing import Any

import numpy
import pandas


def write_tables(folder: Any) -> None:
    """Make the files: trips, people, sales and a log."""
    random, size = numpy.random.default_rng(7), 400
    days = pandas.date_range("2023-01-01", periods=size, freq="7h")
    pandas.DataFrame(
        {
            "day": days,
            "city": random.choice(["Rome", "Oslo", "Lima", "Kyoto"], size),
            "distance": random.gamma(2.0, 3.0, size).round(2),
            "fare": random.normal(20, 6, size).round(2),
            "tip": numpy.where(random.random(size) < 0.3, numpy.nan, random.random(size).round(2)),
            "riders": random.integers(1, 6, size),
        }
    ).to_parquet(folder / "trips.parquet")
    pandas.DataFrame(
        {
            "id": range(size),
            "age": numpy.where(random.random(size) < 0.1, numpy.nan, random.integers(1, 90, size)),
            "sex": random.choice(["male", "female"], size),
            "grade": random.integers(1, 4, size),
            "name": [
                f"{last}, {title}. X" for last, title in zip("abcd" * 100, ["Mr", "Mrs"] * 200, strict=True)
            ],
            "lived": random.integers(0, 2, size),
        }
    ).to_parquet(folder / "people.parquet")
    pandas.DataFrame(
        {
            "order": range(size),
            "product": random.integers(1, 20, size),
            "price": random.random(size).round(2) * 100,
            "count": random.integers(1, 9, size),
            "when": days,
        }
    ).to_parquet(folder / "sales.parquet")
    pandas.DataFrame(
        {
            "product": range(1, 20),
            "kind": ["toy", "book", "food"] * 6 + ["toy"],
            "brand": ["A", "B"] * 9 + [None],
        }
    ).to_parquet(folder / "products.parquet")


def trips_by_city(pd: Any, folder: Any) -> Any:
    trips = pd.read_parquet(folder / "trips.parquet")
    trips = trips[(trips.distance > 0.5) & (trips.fare > 0)]
    trips["per_km"] = trips["fare"] / trips["distance"]
    trips["month"] = trips["day"].dt.month
    by_city = trips.groupby("city").agg(
        rides=("fare", "size"), fare=("fare", "mean"), per_km=("per_km", "median")
    )
    return by_city.sort_values("rides", ascending=False)


def tips(pd: Any, folder: Any) -> Any:
    trips = pd.read_parquet(folder / "trips.parquet")
    trips["tip"] = trips["tip"].fillna(0)
    trips["generous"] = trips["tip"] > 0.5
    shares = trips.groupby(["city", "generous"]).size().reset_index(name="rides")
    total = trips.groupby("city").size().reset_index(name="total")
    shares = shares.merge(total, on="city")
    shares["share"] = shares.rides / shares.total
    return shares[shares.generous].drop(columns="generous").sort_values("city")


def busiest_days(pd: Any, folder: Any) -> Any:
    trips = pd.read_parquet(folder / "trips.parquet")
    trips["weekday"] = trips.day.dt.day_of_week
    counts = trips["weekday"].value_counts()
    return counts.rename_axis("weekday").reset_index(name="rides")


def survivors(pd: Any, folder: Any) -> Any:
    people = pd.read_parquet(folder / "people.parquet")
    people["age"] = people["age"].fillna(people["age"].median())
    people["child"] = people["age"] < 16
    people["female"] = (people["sex"] == "female").astype(int)
    return people.groupby(["grade", "child"], as_index=False)[["lived", "female"]].mean()


def titles(pd: Any, folder: Any) -> Any:
    people = pd.read_parquet(folder / "people.parquet")
    people["title"] = people["name"].str.extract(r", (\w+)\.", expand=False)
    people["long"] = people["name"].str.len()
    return people.groupby("title").agg({"lived": ["mean", "count"], "age": "mean"})


def missing_values(pd: Any, folder: Any) -> Any:
    people = pd.read_parquet(folder / "people.parquet")
    return people.isna().sum().to_frame("missing")


def revenue(pd: Any, folder: Any) -> Any:
    sales, products = pd.read_parquet(folder / "sales.parquet"), pd.read_parquet(folder / "products.parquet")
    sales["revenue"] = sales["price"] * sales["count"]
    joined = sales.merge(products, on="product", how="left")
    top = joined.groupby("kind", as_index=False)["revenue"].sum().sort_values("revenue", ascending=False)
    top["share"] = (top["revenue"] / top["revenue"].sum()).round(3)
    return top.reset_index(drop=True)


def best_products(pd: Any, folder: Any) -> Any:
    sales = pd.read_parquet(folder / "sales.parquet", columns=["product", "price", "count"])
    sales = sales.assign(revenue=lambda frame: frame.price * frame["count"])
    totals = sales.groupby("product")["revenue"].sum().reset_index()
    return totals.nlargest(5, "revenue")


def cleaning(pd: Any, folder: Any) -> Any:
    products = pd.read_parquet(folder / "products.parquet")
    products.columns = ["id", "kind", "brand"]
    products["kind"] = products["kind"].str.upper()
    products = products.dropna(subset=["brand"]).drop_duplicates(subset=["kind", "brand"])
    products = products.rename(columns={"id": "key"}).set_index("key")
    return products[products.kind.isin(["TOY", "BOOK"])].reset_index()


def monthly(pd: Any, folder: Any) -> Any:
    sales = pd.read_parquet(folder / "sales.parquet")
    sales["month"] = sales.when.dt.month
    table = sales.pivot_table(index="month", values="price", aggfunc="mean")
    table["change"] = table["price"].pct_change()
    return table


PROGRAMS = [
    trips_by_city,
    tips,
    busiest_days,
    survivors,
    titles,
    missing_values,
    revenue,
    best_products,
    cleaning,
    monthly,
]
