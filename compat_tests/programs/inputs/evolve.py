"""DEAP: a genetic algorithm whose toolbox maps with a pool."""

import multiprocessing
import random

from deap import algorithms, base, creator, tools

creator.create("FitnessMax", base.Fitness, weights=(1.0,))
creator.create("Individual", list, fitness=creator.FitnessMax)


def one_max(individual):
    return (sum(individual),)


toolbox = base.Toolbox()
toolbox.register("bit", random.randint, 0, 1)
toolbox.register("individual", tools.initRepeat, creator.Individual, toolbox.bit, 100)
toolbox.register("population", tools.initRepeat, list, toolbox.individual)
toolbox.register("evaluate", one_max)
toolbox.register("mate", tools.cxTwoPoint)
toolbox.register("mutate", tools.mutFlipBit, indpb=0.05)
toolbox.register("select", tools.selTournament, tournsize=3)

if __name__ == "__main__":
    random.seed(64)
    pool = multiprocessing.Pool(2)
    toolbox.register("map", pool.map)
    population = toolbox.population(n=100)
    population, log = algorithms.eaSimple(population, toolbox, 0.5, 0.2, 15, verbose=False)
    print(log)
    print(max(map(sum, population)))
    pool.close()
    pool.join()
