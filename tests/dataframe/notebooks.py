"""Ten analyses as notebooks have them, each over data of its own. Each takes the library and a folder of files.

They are what the coverage page counts: written as one writes with pandas, without a thought of what is native.
"""

from __future__ import annotations

from typing import Any

import numpy
import pandas

ROWS = 500


def write_tables(folder: Any) -> None:
    """Make the files, one for each analysis."""
    random = numpy.random.default_rng(11)

    def holes(values: Any, share: float = 0.1) -> Any:
        return numpy.where(random.random(ROWS) < share, numpy.nan, values)

    days = pandas.date_range("2022-01-01", periods=ROWS, freq="D")
    hours = pandas.date_range("2023-01-01", periods=ROWS, freq="h")
    tables = {
        "sales": {
            "order_id": numpy.arange(ROWS),
            "date": days,
            "region": random.choice(["North", "South", "East", "West"], ROWS),
            "product": random.choice(["desk", "chair", "lamp"], ROWS),
            "units": random.integers(1, 20, ROWS),
            "price": (random.random(ROWS) * 100).round(2),
            "discount": holes(random.random(ROWS).round(2), 0.3),
        },
        "taxi": {
            "pickup": hours,
            "dropoff": hours + pandas.to_timedelta(random.integers(2, 90, ROWS), unit="min"),
            "passengers": random.integers(0, 6, ROWS),
            "distance": random.gamma(2, 2, ROWS).round(2),
            "fare": random.normal(15, 8, ROWS).round(2),
            "payment": random.choice(["card", "cash"], ROWS),
        },
        "titanic": {
            "PassengerId": numpy.arange(ROWS),
            "Survived": random.integers(0, 2, ROWS),
            "Pclass": random.integers(1, 4, ROWS),
            "Name": [
                f"{name}, {title}. Z" for name, title in zip("ab" * 250, ["Mr", "Miss"] * 250, strict=True)
            ],
            "Sex": random.choice(["male", "female"], ROWS),
            "Age": holes(random.integers(1, 80, ROWS).astype(float)),
            "SibSp": random.integers(0, 4, ROWS),
            "Parch": random.integers(0, 3, ROWS),
            "Fare": (random.random(ROWS) * 200).round(2),
            "Embarked": random.choice(["S", "C", "Q"], ROWS),
        },
        "weather": {
            "time": hours,
            "station": random.choice(["A1", "B2", "C3"], ROWS),
            "temp": holes(random.normal(12, 8, ROWS).round(1)),
            "humidity": random.integers(20, 100, ROWS),
            "rain": random.gamma(0.5, 2, ROWS).round(1),
        },
        "stocks": {
            "date": days.repeat(2)[:ROWS],
            "symbol": ["AAA", "BBB"] * (ROWS // 2),
            "open": (100 + random.normal(0, 1, ROWS).cumsum()).round(2),
            "close": (100 + random.normal(0, 1, ROWS).cumsum()).round(2),
            "volume": random.integers(1000, 9999, ROWS),
        },
        "logs": {
            "time": hours,
            "ip": [f"10.0.0.{number}" for number in random.integers(1, 30, ROWS)],
            "method": random.choice(["GET", "POST"], ROWS),
            "path": random.choice(["/", "/about", "/api/items/1", "/api/items/2", "/Login"], ROWS),
            "status": random.choice([200, 301, 404, 500], ROWS, p=[0.7, 0.1, 0.15, 0.05]),
            "bytes": random.integers(100, 100_000, ROWS),
        },
        "survey": {
            "respondent": numpy.arange(ROWS),
            "country": random.choice(["US", "DE", "IN", None], ROWS),
            "years": holes(random.integers(0, 40, ROWS).astype(float), 0.2),
            "salary": holes(random.integers(10, 200, ROWS) * 1000.0, 0.2),
            "languages": random.choice(["Python;SQL", "Rust", "C;C++;Python"], ROWS),
            "remote": random.choice(["Yes", "No"], ROWS),
        },
        "matches": {
            "date": days,
            "home": random.choice(["Ajax", "Porto", "Celtic"], ROWS),
            "away": random.choice(["Lyon", "Basel", "Genk"], ROWS),
            "home_goals": random.integers(0, 6, ROWS),
            "away_goals": random.integers(0, 5, ROWS),
        },
        "bikes": {
            "when": hours,
            "season": random.integers(1, 5, ROWS),
            "weather": random.integers(1, 4, ROWS),
            "temp": random.normal(15, 9, ROWS).round(1),
            "casual": random.integers(0, 50, ROWS),
            "registered": random.integers(0, 200, ROWS),
        },
        "cases": {
            "date": days.repeat(2)[:ROWS],
            "country": ["Aland", "Borduria"] * (ROWS // 2),
            "cases": random.integers(0, 1000, ROWS).cumsum(),
            "deaths": random.integers(0, 10, ROWS).cumsum(),
            "population": [30_000, 9_000_000] * (ROWS // 2),
        },
    }
    for name, table in tables.items():
        pandas.DataFrame(table).to_parquet(folder / f"{name}.parquet")
    pandas.DataFrame({"region": ["North", "South", "East"], "manager": ["Ann", "Bob", "Cid"]}).to_parquet(
        folder / "managers.parquet"
    )


def sales(pd: Any, folder: Any) -> Any:
    df = pd.read_parquet(folder / "sales.parquet")
    df["discount"] = df["discount"].fillna(0)
    df["revenue"] = df["units"] * df["price"] * (1 - df["discount"])
    df["month"] = df["date"].dt.to_period("M").astype(str)
    monthly = df.groupby("month")["revenue"].sum()
    growth = monthly.pct_change().round(3)
    top = df.groupby(["region", "product"], as_index=False)["revenue"].sum()
    top["rank"] = top.groupby("region")["revenue"].rank(ascending=False)
    best = top[top["rank"] == 1].merge(pd.read_parquet(folder / "managers.parquet"), on="region", how="left")
    best["manager"] = best["manager"].fillna("nobody")
    table = df.pivot_table(index="region", columns="product", values="revenue", aggfunc="sum")
    table["all"] = table.sum(axis=1)
    return best.sort_values("revenue", ascending=False).assign(growth=growth.max(), most=table["all"].max())


def taxi(pd: Any, folder: Any) -> Any:
    df = pd.read_parquet(folder / "taxi.parquet")
    df["minutes"] = (df["dropoff"] - df["pickup"]).dt.total_seconds() / 60
    df = df[(df["passengers"] > 0) & (df["distance"].between(0.1, 50)) & (df["fare"] > 0)]
    df["speed"] = df["distance"] / (df["minutes"] / 60)
    df["hour"] = df["pickup"].dt.hour
    df["weekday"] = df["pickup"].dt.day_name()
    df["weekend"] = df["weekday"].isin(["Saturday", "Sunday"])
    slow = df[df["speed"] < df["speed"].quantile(0.9)]
    by_hour = slow.groupby("hour").agg(
        trips=("fare", "size"), fare=("fare", "mean"), speed=("speed", "median")
    )
    by_payment = df["payment"].value_counts(normalize=True)
    by_hour["share of cards"] = by_payment["card"]
    by_hour["smooth"] = by_hour["trips"].rolling(3, min_periods=1).mean()
    longest = df.nlargest(10, "distance")[["distance", "fare"]]
    by_hour["longest"] = longest["fare"].mean()
    return by_hour.reset_index()


def titanic(pd: Any, folder: Any) -> Any:
    df = pd.read_parquet(folder / "titanic.parquet")
    missing = df.isnull().sum()
    df["Title"] = df["Name"].str.extract(r" ([A-Za-z]+)\.", expand=False)
    df["Title"] = df["Title"].replace("Miss", "Ms")
    df["Age"] = df["Age"].fillna(df.groupby("Title")["Age"].transform("median"))
    df["Family"] = df["SibSp"] + df["Parch"] + 1
    df["Alone"] = (df["Family"] == 1).astype(int)
    df["AgeGroup"] = pd.cut(df["Age"], [0, 12, 18, 60, 100], labels=["child", "teen", "adult", "old"])
    df["Sex"] = df["Sex"].map({"male": "m", "female": "f"})
    df.loc[df["Fare"] > 100, "Fare"] = 100.0
    df = df.drop(columns=["Name", "PassengerId"])
    rates = df.groupby(["Sex", "Pclass"])["Survived"].mean().unstack()
    by_age = df.groupby("AgeGroup", observed=True)["Survived"].agg(["mean", "count"])
    dummies = pd.get_dummies(df["Embarked"], prefix="port")
    by_age["ports"] = dummies.shape[1]
    by_age["missing"] = missing["Age"]
    by_age["first"] = rates.iloc[0, 0]
    return by_age


def weather(pd: Any, folder: Any) -> Any:
    df = pd.read_parquet(folder / "weather.parquet").sort_values(["station", "time"])
    df["temp"] = df.groupby("station")["temp"].ffill()
    df["day"] = df["time"].dt.floor("D")
    daily = df.groupby(["station", "day"]).agg({"temp": ["min", "max", "mean"], "rain": "sum"})
    daily.columns = ["low", "high", "mean", "rain"]
    daily = daily.reset_index()
    daily["range"] = daily["high"] - daily["low"]
    daily["change"] = daily.groupby("station")["mean"].diff()
    daily["total"] = daily.groupby("station")["rain"].cumsum()
    daily["wet"] = daily["rain"] > 10.05
    daily["month"] = daily["day"].dt.month
    monthly = daily.groupby(["station", "month"])[["mean", "rain"]].mean().round(1)
    wettest = daily.loc[daily["rain"].idxmax()]
    hot = daily.query("high > 20 and not wet").shape[0]
    return monthly.reset_index().assign(hot=hot, wettest=wettest["rain"])


def stocks(pd: Any, folder: Any) -> Any:
    df = pd.read_parquet(folder / "stocks.parquet").sort_values(["symbol", "date"]).reset_index(drop=True)
    df["return"] = df.groupby("symbol")["close"].pct_change()
    df["before"] = df.groupby("symbol")["close"].shift(1)
    df["gap"] = df["open"] - df["before"]
    one = df[df["symbol"] == "AAA"].set_index("date")
    one["ma5"] = one["close"].rolling(5).mean()
    one["ma20"] = one["close"].rolling(20).mean()
    one["std"] = one["return"].rolling(20).std()
    one["up"] = one["ma5"] > one["ma20"]
    one["crossed"] = one["up"] & ~one["up"].shift(1, fill_value=False)
    one["best"] = one["close"].cummax()
    one["drawdown"] = one["close"] / one["best"] - 1
    wide = df.pivot(index="date", columns="symbol", values="close")
    correlation = wide.corr().iloc[0, 1]
    weekly = one["close"].resample("W").last()
    summary = df.groupby("symbol").agg(
        mean=("return", "mean"), risk=("return", "std"), volume=("volume", "sum")
    )
    summary["sharpe"] = summary["mean"] / summary["risk"]
    return summary.reset_index().assign(
        correlation=correlation, weeks=len(weekly), worst=one["drawdown"].min(), crossed=one["crossed"].sum()
    )


def web_logs(pd: Any, folder: Any) -> Any:
    df = pd.read_parquet(folder / "logs.parquet")
    df["path"] = df["path"].str.lower().str.strip("/")
    df["api"] = df["path"].str.startswith("api")
    df["section"] = df["path"].str.split("/").str[0]
    df["bad"] = df["status"] >= 400
    errors = df[df["bad"]].groupby("path").size().sort_values(ascending=False)
    per_hour = df.groupby(df["time"].dt.hour).agg(hits=("ip", "count"), visitors=("ip", "nunique"))
    heavy = df.groupby("ip")["bytes"].sum().nlargest(5)
    df = df.sort_values(["ip", "time"])
    df["pause"] = df.groupby("ip")["time"].diff().dt.total_seconds()
    df["session"] = (df["pause"] > 3600).astype(int)
    df["session"] = df.groupby("ip")["session"].cumsum()
    sessions = df.groupby(["ip", "session"]).size().reset_index(name="hits")
    found = df[df["path"].str.contains("items/[0-9]+")]
    robots = df.drop_duplicates(subset=["ip"])["ip"].isin(heavy.index).sum()
    return per_hour.reset_index().assign(
        errors=errors.iloc[0], sessions=sessions["hits"].mean(), found=len(found), robots=robots
    )


def survey(pd: Any, folder: Any) -> Any:
    df = pd.read_parquet(folder / "survey.parquet")
    df = df.dropna(subset=["salary"]).rename(columns={"years": "experience"})
    df["country"] = df["country"].fillna("other")
    df["experience"] = df["experience"].fillna(df["experience"].median())
    low, high = df["salary"].quantile(0.05), df["salary"].quantile(0.95)
    df["salary"] = df["salary"].clip(low, high)
    df["python"] = df["languages"].str.contains("Python")
    df["languages"] = df["languages"].str.count(";") + 1
    df["level"] = pd.cut(df["experience"], [-1, 2, 10, 50], labels=["junior", "middle", "senior"])
    df["relative"] = df["salary"] / df.groupby("country")["salary"].transform("mean")
    table = df.groupby(["country", "level"], observed=True)["salary"].median().reset_index()
    share = pd.crosstab(df["country"], df["remote"], normalize="index")
    long = df.melt(id_vars=["country"], value_vars=["experience", "relative"])
    means = long.groupby(["country", "variable"])["value"].mean().reset_index()
    table = table.merge(share.reset_index(), on="country", how="left")
    return table.merge(means[means["variable"] == "relative"], on="country").drop(columns="variable")


def sports(pd: Any, folder: Any) -> Any:
    df = pd.read_parquet(folder / "matches.parquet")
    df["difference"] = df["home_goals"] - df["away_goals"]
    df["result"] = df["difference"].apply(lambda goals: "H" if goals > 0 else "A" if goals < 0 else "D")
    df["points"] = df["result"].map({"H": 3.0, "D": 1.0, "A": 0.0})
    df["season"] = df["date"].dt.year
    home = df.groupby(["season", "home"], as_index=False).agg(
        points=("points", "sum"), goals=("home_goals", "sum")
    )
    away = df.groupby(["season", "away"], as_index=False).agg(conceded=("away_goals", "sum"))
    home = home.rename(columns={"home": "team"})
    away = away.rename(columns={"away": "team"})
    both = home.merge(away, on=["season", "team"], how="outer")
    both[["points", "goals"]] = both[["points", "goals"]].fillna(0)
    both["place"] = both.groupby("season")["points"].rank(method="min", ascending=False)
    both = both.sort_values(["season", "place", "team"]).reset_index(drop=True)
    form = df.sort_values("date").groupby("home")["points"].rolling(5).mean()
    draws = (df["result"] == "D").mean()
    return both.assign(draws=draws, form=form.max())


def bike_sharing(pd: Any, folder: Any) -> Any:
    df = pd.read_parquet(folder / "bikes.parquet")
    df["count"] = df["casual"] + df["registered"]
    df["hour"] = df["when"].dt.hour
    df["day"] = df["when"].dt.day_of_week
    df["season"] = df["season"].astype(str).map({"1": "spring", "2": "summer", "3": "autumn", "4": "winter"})
    df["work"] = ~df["day"].isin([5, 6])
    df["rush"] = df["work"] & (df["hour"].between(7, 9) | df["hour"].between(16, 18))
    profile = df.groupby(["work", "hour"])["count"].mean().reset_index()
    profile["peak"] = profile["count"] == profile.groupby("work")["count"].transform("max")
    by_season = df.groupby("season")[["casual", "registered", "count"]].sum()
    by_season["share"] = (by_season["casual"] / by_season["count"]).round(3)
    correlation = df[["temp", "count"]].corr().iloc[0, 1]
    df["lag"] = df["count"].shift(24)
    df = df.dropna()
    error = (df["count"] - df["lag"]).abs().mean()
    rush = df[df["rush"]]["count"].mean()
    return (
        by_season.sort_index()
        .reset_index()
        .assign(correlation=correlation, error=error, rush=rush, peaks=profile["peak"].sum())
    )


def epidemic(pd: Any, folder: Any) -> Any:
    df = pd.read_parquet(folder / "cases.parquet").sort_values(["country", "date"])
    df["new"] = df.groupby("country")["cases"].diff().fillna(0)
    df["new"] = df["new"].clip(lower=0)
    df["dead"] = df.groupby("country")["deaths"].diff().fillna(0)
    df["per_100k"] = df["new"] / df["population"] * 100_000
    df["week"] = df["date"].dt.isocalendar().week
    df["month"] = df["date"].dt.strftime("%Y-%m")
    df["smooth"] = df.groupby("country")["new"].transform(lambda values: values.rolling(7).mean())
    latest = df.drop_duplicates("country", keep="last").set_index("country")
    latest["fatality"] = latest["deaths"] / latest["cases"]
    monthly = df.pivot_table(index="month", columns="country", values="new", aggfunc="sum")
    peak = df.loc[df.groupby("country")["new"].idxmax(), ["country", "date"]]
    since = df[df["cases"] > 1000].groupby("country")["date"].min()
    latest["since"] = since
    return latest.reset_index()[["country", "cases", "fatality", "since"]].assign(
        months=len(monthly), peak=peak["date"].max()
    )


NOTEBOOKS = [
    sales,
    taxi,
    titanic,
    weather,
    stocks,
    web_logs,
    survey,
    sports,
    bike_sharing,
    epidemic,
]
